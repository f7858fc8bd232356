"""How a training is driven: continued to the same weights and losses, with losses read late where that pays.

The tests of late reading drive on the CPU as on a GPU.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.clip.batches import TrainingBatch
from gift_core.clip.model import Clip
from gift_core.config.method_options import MethodConfig
from gift_core.driving import training
from gift_core.errors import UserError
from gift_core.method.methods import build_method
from gift_core.method.training.loop import LossRow
from gift_core.work.resumable import read_state
from tests.clip.tiny import tiny_clip
from tests.method.training.tiny_training import gift, method_config, other_teacher, run, task_images

pytestmark = pytest.mark.usefixtures("every_snapshot")
ITERATIONS = 6
AVERAGE, MERGE = {"kind": "running_mean", "every": 2}, {"kind": "interpolate", "alpha": 0.6}


def train(config: MethodConfig, clip: Clip, **options: Any) -> list[LossRow]:
    fisher = {name: value.detach().square() for name, value in tiny_clip(seed=3).trainable().items()}
    method = build_method(config, fisher=fisher)
    replay = other_teacher() if len(config.losses) else None
    return run(clip, config, iterations=ITERATIONS, method=method, replay=replay, **options)


def with_dropout() -> Clip:
    clip = tiny_clip()
    clip.model.visual.ln_post = torch.nn.Sequential(clip.model.visual.ln_post, torch.nn.Dropout(0.5))
    return clip


# Each kind of consolidation, averaging, merging, memory setting, precision and layer is in one of them.
RESUMED: dict[str, tuple[MethodConfig, Callable[[], Clip], dict[str, Any]]] = {
    "uniform, random layers": (
        gift(consolidation={"kind": "uniform", "weight": 1.0}), with_dropout,
        {"gradient_checkpointing": True, "weight_decay": 0.1},
    ),
    "static_fisher, micro-batches": (
        gift(consolidation={"kind": "static_fisher", "weight": 1.0, "scale": "tensor"}), tiny_clip,
        {"micro_batch_size": 2},
    ),
    "frozen_fisher, amp_fp16": (
        gift(consolidation={"kind": "frozen_fisher", "weight": 1.0, "iterations": 3}),
        lambda: tiny_clip(precision="amp_fp16"), {},
    ),
    "adaptive_fisher, average and merge": (gift(average=AVERAGE, merge=MERGE), tiny_clip, {}),
    "average, amp_bf16": (
        gift(consolidation={"kind": "none"}, average=AVERAGE), lambda: tiny_clip(precision="amp_bf16"), {},
    ),
    "merge, convolutional": (
        MethodConfig.model_validate(method_config().model_dump(exclude_none=True) | {"merge": MERGE}),
        lambda: tiny_clip(tower="resnet"), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RESUMED)
def test_an_interrupted_training_ends_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str) -> None:
    caplog.set_level(logging.INFO, "gift_core")
    config, make, changes = RESUMED[case]
    whole, path = make(), tmp_path / "training.safetensors"
    rows = train(config, whole, **changes)

    def stop(row: LossRow) -> None:
        if row["iteration"] == 2 + 2 * len(caplog.messages):  # each run before has one
            raise KeyboardInterrupt

    for _ in range(2):  # each time a new process would build everything again
        with pytest.raises(KeyboardInterrupt):
            train(config, make(), snapshot=path, on_iteration=stop, **changes)
    resumed = make()
    torch.manual_seed(12)  # another process would be in another state
    assert train(config, resumed, snapshot=path, **changes) == rows
    assert caplog.messages == [f"continues at iteration {done} of {ITERATIONS}" for done in (2, 4)]
    require_equal(whole, resumed)


def require_equal(one: Clip, other: Clip) -> None:
    torch.testing.assert_close(one.model.state_dict(), other.model.state_dict(), rtol=0, atol=0)


def test_late_reading_changes_no_row_and_no_weight(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    config = gift(average=AVERAGE)
    clips, reported = [tiny_clip(device=device) for _ in range(2)], list[LossRow]()
    for late, clip in enumerate(clips):
        monkeypatch.setattr(training, "_late", lambda run, late=late: late)
        rows = run(clip, config, replay=other_teacher(device), iterations=5, on_iteration=reported.append)
        assert rows == reported[:5] == reported[-5:]
    require_equal(*clips)


class BrokenFrom:
    """Task batches with a NaN pixel from one iteration on."""

    class_prompts: Sequence[str] = ("a one.", "a two.", "a three.")

    def __init__(self, first: int) -> None:
        self.images, self.first = task_images(tiny_clip()), first

    def sample(self, step: int) -> TrainingBatch:
        batch = self.images.sample(step)
        if step >= self.first:
            batch.images_BCHW[0] = math.nan
        return batch


def test_a_loss_of_nan_is_an_error_and_in_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The iteration, the loss and the last good values are those of reading at once."""
    messages, stored, reported = [], [], list[list[LossRow]]()
    for number in (0, 1):
        monkeypatch.setattr(training, "_late", lambda run, number=number: number)
        path = tmp_path / f"{number}.safetensors"
        reported.append([])
        with pytest.raises(UserError) as error:
            options: dict[str, Any] = {"on_iteration": reported[-1].append, "snapshot": path}
            run(tiny_clip(), method_config(), iterations=6, batches=BrokenFrom(2), **options)
        messages.append(str(error.value))
        saved = read_state(path)
        stored.append(saved.tensors)
    assert "stopped at iteration 2: task became nan" in messages[0] and "'iteration': 1" in messages[0]
    assert messages[0] == messages[1] and reported[0] == reported[1] and len(reported[0]) == 2
    torch.testing.assert_close(stored[0], stored[1], rtol=0, atol=0)
    assert all(bool(value.isfinite().all()) for value in stored[1].values() if value.is_floating_point())
