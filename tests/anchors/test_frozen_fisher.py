"""The mean of the first importances, computed by hand, and then no other."""

from __future__ import annotations

import pytest
import torch

from gift_core.consolidation import FrozenFisher

# Squares 1, 9 -> F = (0.2, 1.8); squares 4, 0 -> F = (2, 0); squares 1, 1 -> F = (1, 1).
GRADIENTS = [torch.tensor([1.0, -3.0]), torch.tensor([2.0, 0.0]), torch.tensor([5.0, 5.0]), torch.tensor([0.0, 7.0])]


def importances(*, steps: int, weight: float = 1.0) -> list[list[float]]:
    """F of each step, read from the pull on weights that moved by 1: 2 * weight * F."""
    parameters = {"a": torch.nn.Parameter(torch.tensor([1.0, 2.0]))}
    anchor = FrozenFisher(parameters, weight=weight, steps=steps)
    parameters["a"].data += 1.0
    seen = []
    for gradient in GRADIENTS:
        parameters["a"].grad = None
        anchor.observe({"a": gradient})
        penalty = anchor.pull(parameters)
        pulled = parameters["a"].grad
        assert pulled is not None and penalty.item() == pytest.approx(pulled.sum().item() / 2)
        seen.append((pulled / (2 * weight)).tolist())
    return seen


def test_each_of_the_first_steps_pulls_with_the_mean_so_far() -> None:
    # (0.2, 1.8), then (2.2, 1.8) / 2, then (3.2, 2.8) / 3
    assert importances(steps=3)[:3] == [
        pytest.approx([0.2, 1.8]),
        pytest.approx([1.1, 0.9]),
        pytest.approx([3.2 / 3, 2.8 / 3]),
    ]


def test_later_steps_pull_with_the_mean_of_the_first_ones() -> None:
    assert importances(steps=2)[1:] == [pytest.approx([1.1, 0.9])] * 3
    assert importances(steps=1) == [pytest.approx([0.2, 1.8])] * 4


def test_the_mean_is_of_importances_and_not_of_gradients() -> None:
    # the mean gradient (1.5, -1.5) would give F = (1, 1), the mean of the squares (2.5, 4.5) F = (0.71, 1.29)
    assert importances(steps=2)[1] == pytest.approx([1.1, 0.9])


def test_the_weight_multiplies_the_pull() -> None:
    assert importances(steps=2, weight=0.5) == [pytest.approx(row) for row in importances(steps=2)]


def test_a_step_without_gradient_counts_a_millionth() -> None:
    parameters = {"a": torch.nn.Parameter(torch.zeros(2))}
    anchor = FrozenFisher(parameters, weight=1.0, steps=2)
    anchor.observe({"a": None})
    anchor.observe({"a": GRADIENTS[0]})
    parameters["a"].data += 1.0
    anchor.pull(parameters)
    torch.testing.assert_close(parameters["a"].grad, torch.tensor([0.2 + 1e-6, 1.8 + 1e-6]))  # 2 * F, F half of it


def test_it_is_measured_before_it_pulls() -> None:
    parameters = {"a": torch.nn.Parameter(torch.zeros(2))}
    with pytest.raises(AssertionError, match="observe"):
        FrozenFisher(parameters, weight=1.0, steps=2).pull(parameters)
