"""The anchors' closed form against autograd, and against numbers computed by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from gift_core.anchors.table import ANCHORS
from gift_core.consolidation import AdaptiveFisher, NoConsolidation, Uniform, normalized_squares
from gift_core.errors import UserError, lookup

Parameters = Mapping[str, torch.nn.Parameter]


def two_parameters() -> dict[str, torch.nn.Parameter]:
    return {
        "a": torch.nn.Parameter(torch.tensor([1.0, 2.0])),
        "b": torch.nn.Parameter(torch.tensor([[3.0]])),
    }


def move(parameters: Parameters, distance: float) -> None:
    with torch.no_grad():
        for value in parameters.values():
            value.add_(distance)


def test_importance_is_the_squared_gradient_over_its_mean() -> None:
    # squares 1, 9: mean 5 -> 0.2, 1.8; a tensor of one element is 1 whatever its gradient
    first, second = normalized_squares([torch.tensor([1.0, -3.0]), torch.tensor([[0.01]])])
    torch.testing.assert_close(first, torch.tensor([0.2, 1.8]))
    torch.testing.assert_close(second, torch.tensor([[1.0]]))


def test_the_scale_of_the_gradient_does_not_matter() -> None:
    gradient = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    large, small = normalized_squares([gradient, gradient * 1e-4])
    torch.testing.assert_close(large, small)


def test_a_tensor_without_gradient_has_importance_one_millionth() -> None:
    parameters = two_parameters()
    anchor = AdaptiveFisher(parameters, weight=1.0)
    anchor.observe({"a": None, "b": torch.zeros(1, 1)})
    move(parameters, 2.0)
    # (2 + 1 elements) * 1e-6 * 2^2
    assert anchor.pull(parameters).item() == pytest.approx(3 * 1e-6 * 4)
    torch.testing.assert_close(parameters["a"].grad, torch.full((2,), 2 * 1e-6 * 2.0))


def test_adaptive_pull_by_hand() -> None:
    parameters = two_parameters()
    anchor = AdaptiveFisher(parameters, weight=0.5)
    anchor.observe({"a": torch.tensor([1.0, -3.0]), "b": torch.tensor([[4.0]])})
    move(parameters, 0.1)
    # F = (0.2, 1.8), 1; penalty 0.5 * (0.2 + 1.8 + 1) * 0.01; gradient 2 * 0.5 * F * 0.1
    assert anchor.pull(parameters).item() == pytest.approx(0.015, rel=1e-5)
    torch.testing.assert_close(parameters["a"].grad, torch.tensor([0.02, 0.18]))
    torch.testing.assert_close(parameters["b"].grad, torch.tensor([[0.1]]))


def test_uniform_pull_by_hand() -> None:
    parameters = two_parameters()
    anchor = Uniform(parameters, weight=0.5)
    anchor.observe({"a": torch.ones(2), "b": None})
    move(parameters, 0.1)
    assert anchor.pull(parameters).item() == pytest.approx(0.5 * 3 * 0.01, rel=1e-5)
    torch.testing.assert_close(parameters["a"].grad, torch.full((2,), 0.1))


def test_pull_adds_to_the_gradients_that_are_there() -> None:
    parameters = two_parameters()
    anchor = Uniform(parameters, weight=1.0)
    parameters["a"].grad = torch.tensor([5.0, 7.0])
    move(parameters, 1.0)
    anchor.pull(parameters)
    torch.testing.assert_close(parameters["a"].grad, torch.tensor([7.0, 9.0]))


def test_no_anchor_pulls_nothing() -> None:
    parameters = two_parameters()
    anchor = NoConsolidation(parameters)
    anchor.observe({"a": torch.ones(2), "b": None})
    move(parameters, 1.0)
    assert anchor.pull(parameters).item() == 0
    assert all(value.grad is None for value in parameters.values())


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_adaptive_pull_equals_autograd_with_a_constant_importance(weight: float) -> None:
    """An independent second implementation: the penalty as a graph, its gradient by autograd."""
    generator = torch.Generator().manual_seed(1)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    parameters = dict(layers.named_parameters())
    start = {name: value.detach().clone() for name, value in parameters.items()}
    anchor = AdaptiveFisher(parameters, weight=weight)
    for value in parameters.values():
        value.data += 0.05 * torch.randn(value.shape, generator=generator)
    inputs = torch.randn(7, 4, generator=generator)

    replay, task = layers(inputs).pow(2).mean(), layers(inputs).sin().sum()
    replay_gradients = dict(zip(parameters, torch.autograd.grad(replay, list(parameters.values())), strict=True))
    penalty = torch.zeros(())
    for name, value in parameters.items():
        squares = replay_gradients[name].double() ** 2
        importance = (squares / squares.mean()).float().detach()
        penalty = penalty + weight * (importance * (value - start[name]) ** 2).sum()
    expected = torch.autograd.grad(layers(inputs).pow(2).mean() + task + penalty, list(parameters.values()))

    layers(inputs).pow(2).mean().backward()
    anchor.observe({name: value.grad for name, value in parameters.items()})
    layers(inputs).sin().sum().backward()
    pulled = anchor.pull(parameters)
    torch.testing.assert_close(pulled, penalty.detach())
    for value, gradient in zip(parameters.values(), expected, strict=True):
        torch.testing.assert_close(value.grad, gradient)


def test_an_unknown_anchor_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'adaptive_fisher'"):
        lookup(ANCHORS, "adaptive_fischer", "methods.gift.consolidation.kind")
