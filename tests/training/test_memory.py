"""Training in parts, with checkpointing and in half precision: the same steps, and none with an overflow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from gift_core.config.methods import MethodConfig
from gift_core.errors import UserError
from gift_core.methods import build_method
from gift_core.replay.pairs import PairReplay
from gift_core.training.loop import LossRow, require_trainable
from gift_core.training.loss_scale import LOSS_SCALES, DynamicScale
from tests.clip.tiny import tiny_clip
from tests.training.test_loop import GIFT_TERMS, gift, method_config, pair_replay, run, training

ZSCL = {"distill_image_side": {"weight": 1.0, "temperature": 2.0}}
METHODS = {
    "gift": gift(),
    "zscl": method_config(losses=ZSCL, consolidation={"kind": "uniform", "weight": 1.0}),
    "lwf": method_config(losses=ZSCL),
    "gift_text_side": method_config(
        losses={"distill_text_side": {"weight": 1.0, "temperature": 2.0}},
        consolidation={"kind": "frozen_fisher", "weight": 1.0, "iterations": 2},
    ),
    "finetune": method_config(),
}
SAVINGS: dict[str, dict[str, Any]] = {
    "parts": {"micro_batch_size": 3},
    "checkpointing": {"gradient_checkpointing": True},
    "both": {"micro_batch_size": 1, "gradient_checkpointing": True},
}


def other_teacher() -> PairReplay:
    """Features of another model: where teacher and student are equal the distillation's gradient is rounding noise."""
    return pair_replay(tiny_clip(seed=7))


@pytest.mark.parametrize("saving", SAVINGS.values(), ids=SAVINGS)
@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
def test_saving_memory_changes_no_step(config: MethodConfig, saving: dict[str, Any]) -> None:
    plain, saving_clip = tiny_clip(), tiny_clip()
    expected = run(plain, config, replay=other_teacher() if len(config.losses) else None)
    found = run(saving_clip, config, replay=other_teacher() if len(config.losses) else None, **saving)
    for row, expected_row in zip(found, expected, strict=True):
        anchors = row.pop("anchor"), expected_row.pop("anchor")
        assert anchors[0] == pytest.approx(anchors[1], rel=1e-3, abs=1e-6)  # it sees the bias of the keys too, below
        assert row == pytest.approx(expected_row, rel=1e-4, abs=1e-6)
    for (name, value), other in zip(saving_clip.trainable().items(), plain.trainable().values(), strict=True):
        atol = 4e-3 if name.endswith("in_proj_bias") else 2e-5  # as in the test of one gift step above
        torch.testing.assert_close(value.detach(), other.detach(), rtol=0, atol=atol, msg=name)


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
def test_saving_memory_goes_with_autocast(precision: str) -> None:
    rows = [
        run(tiny_clip(precision=precision), gift(), replay=other_teacher(), **saving)
        for saving in ({}, SAVINGS["both"])
    ]
    for found, expected in zip(rows[1], rows[0], strict=True):
        assert found["total"] == pytest.approx(expected["total"], rel=1e-2)


def test_checkpointing_is_off_after_training() -> None:
    clip = tiny_clip()
    run(clip, gift(), gradient_checkpointing=True)
    assert not any(getattr(module, "grad_checkpointing", False) for module in clip.model.modules())


def test_a_model_that_cannot_be_checkpointed_is_refused_before_anything_is_read() -> None:
    clip = tiny_clip()
    clip.model.text = torch.nn.Linear(2, 2)
    require_trainable(clip, training())
    with pytest.raises(UserError, match="training.gradient_checkpointing: the model's text tower"):
        require_trainable(clip, training(gradient_checkpointing=True))


def small_scale() -> DynamicScale:
    """At which the gradients of this model stay within float16."""
    return DynamicScale(2.0**8)


def test_float16_trains_float32_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSS_SCALES, "amp_fp16", small_scale)
    clip = tiny_clip(precision="amp_fp16")
    half, exact = run(clip, gift(), replay=other_teacher()), run(tiny_clip(), gift(), replay=other_teacher())
    assert {value.dtype for value in clip.model.parameters()} == {torch.float32}
    assert [row.pop("skipped") for row in half] == [0.0, 0.0, 0.0]
    for found, expected in zip(half, exact, strict=True):
        assert list(found) == list(expected)
        assert found["total"] == pytest.approx(expected["total"], rel=2e-2)


def test_a_first_scale_that_is_too_large_is_lowered_by_skipped_steps() -> None:
    rows = run(tiny_clip(precision="amp_fp16"), gift(), replay=other_teacher(), steps=5)
    skipped = [row["skipped"] for row in rows]
    assert skipped[0] == 1.0 and 0.0 in skipped
    assert rows[1]["task"] != rows[0]["task"]  # another batch, not the same once more


def test_scaling_by_powers_of_two_changes_no_bit_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, scaled = tiny_clip(), tiny_clip()
    expected = run(plain, gift(), replay=other_teacher())
    monkeypatch.setitem(LOSS_SCALES, "fp32", DynamicScale)
    found = run(scaled, gift(), replay=other_teacher())
    assert [{**row, "skipped": 0.0} for row in expected] == found
    for name, value in scaled.trainable().items():
        assert torch.equal(value, plain.trainable()[name]), name


class OverflowAt:
    """A scale with a gradient that overflows at some of its calls: two a step, after the replay and at the end."""

    def __init__(self, *calls: int) -> None:
        self.calls, self.call = calls, -1

    def build(self) -> DynamicScale:
        scale = DynamicScale()
        unscale = scale.unscale

        def overflowing(gradients: Sequence[torch.Tensor]) -> bool:
            self.call += 1
            if self.call in self.calls:
                gradients[0].reshape(-1)[0] = math.inf
            return unscale(gradients)

        scale.unscale = overflowing  # type: ignore[method-assign]
        return scale


@pytest.mark.parametrize("calls", [(2,), (3,), (2, 3)], ids=["in the replay terms", "in the task loss", "in both"])
@pytest.mark.parametrize("kind", ["adaptive_fisher", "frozen_fisher"])
def test_a_step_whose_gradients_overflow_changes_nothing_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch, kind: str, calls: tuple[int, ...]
) -> None:
    options = {"iterations": 2} if kind == "frozen_fisher" else {}
    config = method_config(losses=GIFT_TERMS, consolidation={"kind": kind, "weight": 1.0, **options})
    monkeypatch.setitem(LOSS_SCALES, "fp32", OverflowAt(*calls).build)
    clip, seen = tiny_clip(), []

    def note(row: LossRow) -> None:
        seen.append({name: value.detach().clone() for name, value in clip.trainable().items()})

    rows = run(clip, config, replay=other_teacher(), steps=4, on_step=note)
    assert [row["skipped"] for row in rows] == [0, 1, 0, 0]
    assert rows[1]["anchor"] == 0 and rows[2]["anchor"] > 0
    assert all(torch.equal(seen[0][name], seen[1][name]) for name in seen[0])
    assert not torch.equal(seen[1]["visual.proj"], seen[2]["visual.proj"])
    assert all(math.isfinite(value) for row in rows for value in row.values())


def test_steps_that_all_overflow_end_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSS_SCALES, "amp_fp16", OverflowAt(*range(200)).build)
    with pytest.raises(UserError, match=r"amp_fp16: the gradients of 24 steps in a row were not finite"):
        run(tiny_clip(precision="amp_fp16"), gift(), steps=40)


def test_the_anchor_sees_gradients_without_their_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSS_SCALES, "amp_fp16", small_scale)
    largest: dict[str, list[float]] = {"fp32": [], "amp_fp16": []}
    for precision, seen in largest.items():
        clip = tiny_clip(precision=precision)

        class Spy:
            def observe(self, gradients: dict[str, torch.Tensor | None], seen: list[float] = seen) -> None:
                seen.append(max(value.abs().max().item() for value in gradients.values() if value is not None))

            def pull(self, parameters: dict[str, torch.nn.Parameter]) -> torch.Tensor:
                return torch.zeros(())

        method = dataclasses.replace(build_method(gift()), build_anchor=lambda parameters, spy=Spy: spy())
        run(clip, gift(), method=method, replay=other_teacher(), steps=1)
    assert largest["amp_fp16"] == pytest.approx(largest["fp32"], rel=2e-2)
