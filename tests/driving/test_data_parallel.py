"""Training in several processes: the gradients and weights of one process, and every end of a process is noticed.

The processes are forked from one that has loaded PyTorch. As new Pythons, which they are in use:
tests/stages/test_processes.py.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from gift_core.clip.model import Clip
from gift_core.config.experiment import TrainingConfig
from gift_core.config.method_options import MethodConfig
from gift_core.driving import training
from gift_core.driving.processes import ALONE, Processes, run_together
from gift_core.errors import UserError
from gift_core.method.training import loop
from gift_core.method.training.loop import LossRow
from stages.stage import logged_to
from tests.clip.tiny import CPU, tiny_clip
from tests.driving.test_training import with_dropout
from tests.interruption.processes import SERVER
from tests.method.training.test_trains import LORA
from tests.method.training.tiny_training import GIFT_LOSSES, gift, method_config, other_teacher, run

COUNT = 4  # processes, of which one has no class; the shares of 7 images differ
VOCABULARY = {"distill_vocabulary": {"weight": 1.0, "temperature": 2.0}}


CASES: dict[str, tuple[MethodConfig, dict[str, Any]]] = {
    "gift": (gift(), {}),
    "vocabulary": (method_config(losses={**VOCABULARY, "align": GIFT_LOSSES["align"]}), {}),
    "no replay": (method_config(), {"weight_decay": 0.1}),
    "gradient cache": (gift(), {"micro_batch_size": 1}),
    "checkpointing": (gift(), {"gradient_checkpointing": True}),
    "lora": (gift(trains=LORA, layer_decay=0.5), {}),
    "text tower": (gift(trains={"kind": "text_tower"}), {"micro_batch_size": 2}),
}


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    with patch.object(multiprocessing, "get_context", lambda method: SERVER):
        yield


def train(processes: Processes, clip: Clip, case: str = "gift", **options: Any) -> list[LossRow]:
    config, changes = CASES[case]
    replay = other_teacher() if config.losses else None
    return run(clip, config, replay=replay, processes=processes, batch_size=7, **options, **changes)


def sgd(groups: Mapping[float, dict[str, Any]], training: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups.values(), lr=0.0, weight_decay=training.weight_decay)


Learned = tuple[list[LossRow], dict[str, torch.Tensor]]


def learned(case: str, processes: Processes = ALONE) -> Learned:
    """The losses of all iterations and the final weights. The steps are those of SGD, so these show the gradients."""
    clip = tiny_clip()
    with patch.object(loop, "_optimizer", sgd):
        rows = train(processes, clip, case)
    return rows, {name: value.detach() for name, value in clip.trainable().items()}


def learn_into(processes: Processes, path: Path) -> Callable[[], None]:
    """Learns all cases in each process. The first one writes the result."""

    def learn() -> None:
        found = {case: learned(case, processes) for case in CASES}
        if processes.is_first:
            torch.save(found, path)

    return learn


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Learned]:
    path = tmp_path_factory.mktemp("together") / "learned.pt"
    run_together(COUNT, CPU, learn_into, (path,))
    found: dict[str, Learned] = torch.load(path)
    return found


@pytest.mark.parametrize("case", CASES)
def test_losses_and_weights_are_those_of_one_process(case: str, together: dict[str, Learned]) -> None:
    (rows, weights), (expected_rows, expected_weights) = together[case], learned(case)
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-3, atol=1e-6)


def train_into(processes: Processes, folder: Path, stop_at: int = -1) -> Callable[[], None]:
    """Trains with a snapshot in the folder. The first process writes the result, unless it is interrupted before."""
    said, clip = list[str](), with_dropout()
    training.INTERVAL = 0.0

    def interrupt(row: LossRow) -> None:
        if processes.is_first and row["iteration"] == stop_at:
            raise KeyboardInterrupt

    def train_and_write() -> None:
        torch.manual_seed(12 + stop_at)  # processes start in different states
        kept: dict[str, Any] = {"snapshot": folder / "training.safetensors", "on_iteration": interrupt}
        with logged_to(said.append):
            rows = train(processes, clip, **kept)
        if processes.is_first:
            torch.save((rows, said, clip.model.state_dict()), folder / "result.pt")

    return train_and_write


def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    resumed.mkdir()
    run_together(2, CPU, train_into, (whole,))
    with pytest.raises(RuntimeError, match=r"KeyboardInterrupt\n$"):
        run_together(2, CPU, train_into, (resumed, 2))
    assert not (resumed / "result.pt").exists()
    run_together(2, CPU, train_into, (resumed,))
    (rows, none, weights), (same_rows, said, same) = (torch.load(each / "result.pt") for each in (whole, resumed))
    assert (none, said) == ([], ["continues at iteration 2 of 3"])
    assert same_rows == rows
    assert all(torch.equal(value, same[name]) for name, value in weights.items())


def fail(processes: Processes, how: str) -> Callable[[], object]:
    """Fails in process 2 of 3, while it loads or in an iteration."""

    def end(row: object = None) -> None:
        if processes.rank == 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise UserError("the remedy") if "error" in how else ValueError("a bug")

    if how == "early error":
        end()
    if how == "drift":
        return lambda: train(processes, tiny_clip(seed=processes.rank))
    return lambda: train(processes, tiny_clip(), on_iteration=end)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("error", UserError, "^the remedy$"),
        ("early error", UserError, "^the remedy$"),
        ("bug", RuntimeError, r"^a process of the training failed:\nTraceback(.|\n)*ValueError: a bug\n$"),
        ("killed", UserError, "^training.processes: process 2 of 3 was ended by signal 9. The system ends processes"),
        ("drift", UserError, "^training.processes: 3: the processes differ after 0 iterations, so"),
    ],
)
def test_the_error_of_the_process_that_failed_first_is_raised(how: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        run_together(3, CPU, fail, (how,))
    assert multiprocessing.active_children() == []
