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
from gift_core.errors import UserError
from gift_core.method.training import loop
from gift_core.method.training.loop import LossRow
from gift_core.work.processes import ALONE, Processes, started
from gift_core.work.training import Snapshot
from tests.clip.tiny import tiny_clip
from tests.interruption.processes import SERVER
from tests.method.training.tiny_training import GIFT_LOSSES, gift, method_config, other_teacher, run
from tests.work.test_training import require_equal, with_dropout

CPU = torch.device("cpu")
COUNT = 4  # processes, of which one has no class; the shares of 7 images differ
VOCABULARY = {"distill_vocabulary": {"weight": 1.0, "temperature": 2.0}}
LORA = {"kind": "lora", "rank": 2, "alpha": 4.0, "targets": ["attn", "c_fc"], "dropout": 0.0}


def gift_with(**slots: Any) -> MethodConfig:
    return MethodConfig.model_validate(gift().model_dump(exclude_none=True) | slots)


CASES: dict[str, tuple[MethodConfig, dict[str, Any]]] = {
    "gift": (gift(), {}),
    "vocabulary": (method_config(losses={**VOCABULARY, "align": GIFT_LOSSES["align"]}), {}),
    "no replay": (method_config(), {"weight_decay": 0.1}),
    "gradient cache": (gift(), {"micro_batch_size": 1}),
    "checkpointing": (gift(), {"gradient_checkpointing": True}),
    "lora": (gift_with(trains=LORA, layer_decay=0.5), {}),
    "text tower": (gift_with(trains={"kind": "text_tower"}), {"micro_batch_size": 2}),
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


def learn_all(processes: Processes) -> dict[str, Learned]:
    return {case: learned(case, processes) for case in CASES}


def learn_too(processes: Processes) -> Callable[[], object]:
    return lambda: learn_all(processes)


@pytest.fixture(scope="module")
def together() -> dict[str, Learned]:
    with started(COUNT, CPU, learn_too) as processes:
        return learn_all(processes)


@pytest.mark.parametrize("case", CASES)
def test_losses_and_weights_are_those_of_one_process(case: str, together: dict[str, Learned]) -> None:
    (rows, weights), (expected_rows, expected_weights) = together[case], learned(case)
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-3, atol=1e-6)


def train_too(processes: Processes, path: Path | None = None) -> Callable[[], object]:
    return lambda: train(processes, with_dropout(), snapshot=Snapshot(path))


@pytest.mark.usefixtures("every_snapshot")
def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    whole, resumed, path = with_dropout(), with_dropout(), tmp_path / "training.safetensors"
    with started(2, CPU, train_too) as processes:
        rows = train(processes, whole)

    def interrupt(row: LossRow) -> None:
        if row["iteration"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), started(2, CPU, train_too, (path,)) as processes:
        train(processes, with_dropout(), snapshot=Snapshot(path), on_iteration=interrupt)
    torch.manual_seed(12)  # another process would be in another state
    said: list[str] = []
    with started(2, CPU, train_too, (path,)) as processes:
        assert train(processes, resumed, snapshot=Snapshot(path, said.append)) == rows
    assert said == ["continues at iteration 2 of 3"]
    require_equal(whole, resumed)


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
        ("bug", RuntimeError, r"^another process of the training failed:\nTraceback(.|\n)*ValueError: a bug\n$"),
        ("killed", UserError, "^training.processes: process 2 of 3 was ended by signal 9. The system ends processes"),
        ("drift", UserError, "^training.processes: 3: the processes differ after 0 iterations ..*positional_embedding"),
    ],
)
def test_the_error_of_the_process_that_failed_first_is_raised(how: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message), started(3, CPU, fail, (how,)) as processes:
        train(processes, tiny_clip(seed=0))
    assert multiprocessing.active_children() == []
