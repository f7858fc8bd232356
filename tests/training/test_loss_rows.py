"""On a GPU the losses of an iteration are read when the next one is queued, with the same rows, errors and snapshots.

The loop runs on the CPU and reads as on a GPU. On the device "meta" every read of a value is an error, so a run there
shows that nothing else is read in an iteration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.artifacts import snapshot as snapshots
from gift_core.artifacts.snapshot import Snapshot
from gift_core.clip.batches import TaskBatch
from gift_core.clip.model import Clip
from gift_core.config.method_options import MethodConfig
from gift_core.errors import UserError
from gift_core.losses import LOSSES
from gift_core.methods import build_method
from gift_core.overlap import in_turn, prefetched
from gift_core.replay.pairs import NoReplay, ReplayBatch
from gift_core.training import loop, loss_rows
from gift_core.training.loop import LossRow, finetune, run_iterations
from gift_core.training.processes import ALONE, Processes
from tests.clip.tiny import CPU, tiny_clip
from tests.training.test_loop import BrokenFrom
from tests.training.tiny_training import GIFT_LOSSES, gift, method_config, other_teacher, run, task_images, training


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_late", lambda *_: 1)


def trained(
    config: MethodConfig, device: torch.device = CPU, **options: Any
) -> tuple[list[LossRow], list[LossRow], Clip]:
    """The rows, those that were reported, and the model."""
    clip, reported = tiny_clip(device=device), list[LossRow]()
    rows = run(clip, config, replay=other_teacher(device), iterations=5, on_iteration=reported.append, **options)
    return rows, reported, clip


def test_late_reading_changes_no_row_and_no_weight(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    config = MethodConfig.model_validate(
        gift().model_dump(exclude_none=True) | {"average": {"kind": "running_mean", "every": 2}}
    )
    monkeypatch.setattr(loop, "_late", lambda *arguments: 0)
    expected, _, clip = trained(config, device)
    monkeypatch.setattr(loop, "_late", lambda *arguments: 1)
    rows, reported, other = trained(config, device)
    assert rows == reported == expected
    for name, value in clip.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name


def test_a_loss_is_read_after_the_next_iteration_is_queued(monkeypatch: pytest.MonkeyPatch, late: None) -> None:
    order: list[str] = []
    backward = loop.GradientComputation.backward

    def queued(self: Any, *batches: Any) -> Any:
        order.append("queued")
        return backward(self, *batches)

    def copied(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        def read() -> torch.Tensor:
            order.append("read")
            return tensor

        return read

    monkeypatch.setattr(loop.GradientComputation, "backward", queued)
    monkeypatch.setattr(loss_rows, "copied_to_cpu", copied)
    run(tiny_clip(), method_config(), iterations=4)
    assert order == ["queued", *["queued", "read"] * 3, "read"]


def test_a_loss_that_is_not_finite_is_the_same_error_and_is_in_no_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The iteration, the loss and the last good values are those of reading at once."""
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))
    messages, stored, reported = [], [], list[list[LossRow]]()
    for number in (0, 1):
        monkeypatch.setattr(loop, "_late", lambda *arguments, number=number: number)
        path = tmp_path / f"{number}.safetensors"
        reported.append([])
        with pytest.raises(UserError) as error:
            finetune(
                tiny_clip(), BrokenFrom(2), method=build_method(method_config()), replay=NoReplay(),
                training=training(6), learning_rate=1e-3, iterations=6, seed=1, on_iteration=reported[-1].append,
                snapshot=Snapshot(path, lambda line: None),
            )  # fmt: skip
        messages.append(str(error.value))
        saved = Snapshot(path, lambda line: None).read()
        assert saved is not None
        stored.append(saved.tensors)
    assert "stopped at iteration 2: task became nan" in messages[0] and "'iteration': 1" in messages[0]
    assert messages[0] == messages[1] and reported[0] == reported[1] and len(reported[0]) == 2
    assert stored[0].keys() == stored[1].keys()
    assert all(torch.equal(stored[0][name], stored[1][name]) for name in stored[0])
    assert all(bool(value.isfinite().all()) for value in stored[1].values() if value.is_floating_point())


def test_only_one_process_on_a_gpu_in_a_precision_without_a_loss_scale_reads_late() -> None:
    clip = tiny_clip()
    scaled = loop.WeightUpdate(torch.optim.SGD(clip.model.parameters()), torch.amp.GradScaler("cpu"))
    plain = dataclasses.replace(scaled, scaler=torch.amp.GradScaler("cpu", enabled=False))
    assert loop._late(clip, plain, prefetched, ALONE) == 0
    clip.model.to("meta")
    assert loop._late(clip, plain, prefetched, ALONE) == 1
    assert loop._late(clip, plain, in_turn, ALONE) == 0
    assert loop._late(clip, scaled, prefetched, ALONE) == 0
    assert loop._late(clip, plain, prefetched, Processes(0, 2)) == 0


def to_meta(batch: Any) -> Any:
    """The batch without values."""
    moved = {name: value.to("meta") for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    return dataclasses.replace(batch, **moved)


class MetaBatches:
    def __init__(self) -> None:
        self.images = task_images(tiny_clip())
        self.class_prompts = self.images.class_prompts

    def sample(self, iteration: int) -> TaskBatch:
        return to_meta(self.images.sample(iteration))


class MetaReplay:
    def __init__(self) -> None:
        self.pairs = other_teacher()

    def sample(self, iteration: int) -> tuple[ReplayBatch, ...]:
        return tuple(map(to_meta, self.pairs.sample(iteration)))


# Two read more, and say why in docs/log.md: distill_vocabulary the number of distinct texts of a batch, and
# consolidation frozen_fisher whether an importance is finite, while it is not frozen.
SOFT = {"weight": 1.0, "temperature": 2.0}
OPTIONS = {"distill_features": {"weight": 1.0}, "align": GIFT_LOSSES["align"]}
ROWS = [
    gift(),
    *(method_config(losses={name: OPTIONS.get(name, SOFT)}) for name in LOSSES if name != "distill_vocabulary"),
    method_config(losses=GIFT_LOSSES, kind="uniform", weight=1.0),
    MethodConfig.model_validate(
        gift().model_dump(exclude_none=True) | {"average": {"kind": "running_mean", "every": 2}}
    ),
]


@pytest.mark.parametrize("config", ROWS, ids=lambda config: "+".join(name for name, _ in config.losses.items()))
def test_an_iteration_reads_nothing_from_the_device(config: MethodConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def copied(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        assert tensor.is_meta
        return lambda: (read.append(1), torch.zeros(tensor.shape))[1]

    monkeypatch.setattr(loss_rows, "copied_to_cpu", copied)
    monkeypatch.setattr(loop, "_optimizer", lambda parameters, training: torch.optim.SGD(parameters.values()))
    clip = tiny_clip()
    clip.model.to("meta")
    with loop.training_mode(clip):
        rows = run_iterations(
            clip, MetaBatches(), method=build_method(config), replay=MetaReplay(), training=training(4),
            rates=[1e-3] * 4,
        )  # fmt: skip
    assert len(rows) == len(read) == 4
    with pytest.raises((NotImplementedError, RuntimeError)):  # what a read would have been
        clip.scale.item()
    assert math.isfinite(rows[-1]["total"])
