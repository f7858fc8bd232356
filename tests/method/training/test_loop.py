"""The training loop: its order, its schedule, the weights it leaves alone, and its loss scale under autocast."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from gift_core.errors import UserError
from gift_core.method.training import loop
from gift_core.method.training.loop import LossRow, learning_rates
from tests.clip.tiny import tiny_clip
from tests.method.training.tiny_training import gift, other_teacher, run


def test_the_rate_rises_linearly_then_falls_as_a_cosine() -> None:
    rates = learning_rates(6, warmup_iterations=2, peak=1.0)
    cosine = math.cos(math.pi / 4)
    assert rates == pytest.approx([0.5, 1.0, 1.0, (1 + cosine) / 2, 0.5, (1 - cosine) / 2])
    assert learning_rates(2, warmup_iterations=0, peak=4.0) == pytest.approx([4.0, 2.0])


def test_the_temperature_and_batch_norms_statistics_stay_and_the_model_is_left_in_evaluation_mode() -> None:
    clip = tiny_clip(tower="resnet")
    before = {name: value.clone() for name, value in clip.model.state_dict().items()}
    run(clip, gift(), gradient_checkpointing=True)
    after = clip.model.state_dict()
    statistics = [name for name in after if "running_" in name or "num_batches" in name]
    assert statistics and all(torch.equal(before[name], after[name]) for name in [*statistics, "logit_scale"])
    assert not torch.equal(before["visual.bn1.weight"], after["visual.bn1.weight"])
    assert not clip.model.training
    assert all(value.grad is None for value in clip.model.parameters())
    assert not any(getattr(module, "grad_checkpointing", False) for module in clip.model.modules())


class Scaler(torch.amp.GradScaler):
    """A loss scale whose gradients overflow after some of its calls: two per iteration, replay and task."""

    def __init__(self, *overflows: int, init_scale: float = 2.0**16, device: str = "cpu") -> None:
        super().__init__(device, init_scale=init_scale)
        self.overflows, self.call = overflows, -1

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        self.call += 1
        scaled: torch.Tensor = super().scale(loss)
        return scaled * math.inf if self.call in self.overflows else scaled


UseScaler = Callable[[Scaler], None]


@pytest.fixture
def use_scaler(monkeypatch: pytest.MonkeyPatch) -> UseScaler:
    """Makes every training run use this loss scale, whatever its precision."""
    return lambda scaler: monkeypatch.setattr(loop, "grad_scaler", lambda clip: scaler)


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
def test_half_precision_trains_float32_weights(precision: str, use_scaler: UseScaler, device: torch.device) -> None:
    exact = run(tiny_clip(device=device), gift(), replay=other_teacher(device))
    if precision == "amp_fp16":  # the gradients of this model fit in float16 at this scale
        use_scaler(Scaler(init_scale=2.0**8, device=device.type))
    clip = tiny_clip(precision=precision, device=device)
    half = run(clip, gift(), replay=other_teacher(device))
    assert {value.dtype for value in clip.model.parameters()} == {torch.float32}
    assert precision == "amp_bf16" or [row.pop("skipped") for row in half] == [0.0, 0.0, 0.0]
    for found, expected in zip(half, exact, strict=True):
        assert list(found) == list(expected)
        assert found["total"] == pytest.approx(expected["total"], rel=2e-2)


def test_scaling_by_powers_of_two_changes_no_bit_of_float32(use_scaler: UseScaler) -> None:
    plain, scaled = tiny_clip(), tiny_clip()
    expected = run(plain, gift(), replay=other_teacher())
    use_scaler(Scaler())
    found = run(scaled, gift(), replay=other_teacher())
    assert [{**row, "skipped": 0.0} for row in expected] == found
    torch.testing.assert_close(scaled.trainable(), plain.trainable(), rtol=0, atol=0)


@pytest.mark.parametrize("calls", [(2,), (3,), (2, 3)], ids=["in the replay losses", "in the task loss", "in both"])
def test_an_overflow_changes_no_weight_and_training_goes_on(use_scaler: UseScaler, calls: tuple[int, ...]) -> None:
    """A frozen Fisher diagonal leaves such an iteration out: tests/method/test_consolidation.py."""
    use_scaler(Scaler(*calls))
    clip, weights = tiny_clip(), []

    def copy_weights(row: LossRow) -> None:
        weights.append({name: value.detach().clone() for name, value in clip.trainable().items()})

    rows = run(clip, gift(), replay=other_teacher(), iterations=4, on_iteration=copy_weights)
    assert [row["skipped"] for row in rows] == [0, 1, 0, 0]
    assert rows[1]["consolidation"] == 0 and rows[2]["consolidation"] > 0
    assert rows[1]["total"] == pytest.approx(rows[1]["task"] + rows[1]["distill"] + rows[1]["align"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[1]["visual.proj"], weights[2]["visual.proj"])
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert all(bool(value.isfinite().all()) for value in weights[-1].values())


def test_too_many_skipped_iterations_in_a_row_stop_training_and_one_without_overflow_starts_anew(
    use_scaler: UseScaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MAX_SKIPPED", 4)
    last = 3  # this iteration is not skipped
    use_scaler(Scaler(*(call for call in range(4 * last + 2) if call not in (2 * last, 2 * last + 1))))
    rows = run(tiny_clip(), gift(), replay=other_teacher(), iterations=2 * last + 1)
    assert [row["skipped"] for row in rows] == [1.0] * last + [0.0] + [1.0] * last
    use_scaler(Scaler(*range(8)))
    expected = r"amp_fp16: the gradients of 4 iterations in a row were not finite.*amp_bf16 or fp32"
    with pytest.raises(UserError, match=expected):
        run(tiny_clip(), gift(), replay=other_teacher(), iterations=4)
