"""The loss scale follows torch's rule, loses nothing, and lets no step with an overflow change anything."""

from __future__ import annotations

import math

import pytest
import torch

from gift_core.errors import UserError
from gift_core.training.loss_scale import MOST_SKIPS, DynamicScale, NoScale


def torch_scales(finite: list[bool], *, first: float, interval: int) -> list[float]:
    """What torch.amp.GradScaler's scale is after each of the steps: the second implementation."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=first, growth_interval=interval)
    scales = []
    for each in finite:
        scaler.scale(weight.sum()).backward()
        assert weight.grad is not None
        weight.grad *= 1.0 if each else math.inf
        scaler.step(optimizer)
        scaler.update()
        weight.grad = None
        scales.append(scaler.get_scale())
    return scales


def test_the_scale_is_torchs() -> None:
    finite = [False, True, True, False, True, True, True, True, True, True, True, False, True, True, True]
    ours = DynamicScale(2.0**10, growth_interval=3)
    scales = []
    for each in finite:
        gradient = ours.scaled(torch.ones(1)) * (1.0 if each else math.inf)
        assert ours.unscale([gradient]) is each
        ours.update(each)
        scales.append(ours.scale)
    assert scales == torch_scales(finite, first=2.0**10, interval=3)
    assert scales[0] < 2.0**10 and max(scales[3:]) > min(scales)  # it went down and up


def test_scaling_there_and_back_changes_no_bit() -> None:
    gradients = [torch.randn(50) * 10.0**power for power in range(-20, 20, 4)]
    before = [gradient.clone() for gradient in gradients]
    scale = DynamicScale()
    scale.restore(gradients)
    assert torch.equal(gradients[0], before[0] * 65536)
    assert scale.unscale(gradients)
    assert all(torch.equal(*pair) for pair in zip(gradients, before, strict=True))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_one_number_that_is_not_finite_is_found(value: float) -> None:
    gradients = [torch.zeros(3), torch.tensor([1.0, value, 1e38])]
    assert not DynamicScale().unscale(gradients)
    assert DynamicScale().unscale([torch.tensor([3e38])])


def test_no_gradients_are_finite() -> None:
    scale = DynamicScale()
    scale.restore([])
    assert scale.unscale([])


def test_a_step_says_whether_it_was_skipped() -> None:
    scale = DynamicScale()
    assert [scale.update(finite)["skipped"] for finite in (True, False, True)] == [0.0, 1.0, 0.0]


def test_too_many_skipped_steps_in_a_row_end_the_training() -> None:
    scale = DynamicScale()
    for _ in range(MOST_SKIPS - 1):
        scale.update(False)
    scale.update(True)
    for _ in range(MOST_SKIPS - 1):
        scale.update(False)
    with pytest.raises(UserError, match=r"amp_fp16: the gradients of 24 steps in a row.*amp_bf16 or fp32"):
        scale.update(False)


def test_no_scale_takes_everything_as_it_is() -> None:
    loss, scale = torch.tensor(2.0), NoScale()
    assert scale.scaled(loss) is loss
    assert scale.unscale([torch.tensor([math.nan])]) and scale.update(True) == {}
