"""Every kind of consolidation against numbers computed by hand: importance, penalty and gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from gift_core.errors import ContractError
from gift_core.method.consolidation import (
    CONSOLIDATIONS,
    AdaptiveFisher,
    Consolidation,
    FrozenFisher,
    Parameters,
    StaticFisher,
    Uniform,
)

Tensors = dict[str, torch.Tensor]

# Not in the order of the parameters. The means are 3 for a, 12 for b, and (1 + 5 + 12) / 3 = 6 over all weights.
FISHER = {"b": torch.tensor([[12.0]]), "a": torch.tensor([1.0, 5.0])}
SEEN = {"a": torch.tensor([1.0, -3.0]), "b": torch.tensor([[4.0]])}


def two_parameters() -> dict[str, torch.nn.Parameter]:
    return {"a": torch.nn.Parameter(torch.tensor([1.0, 2.0])), "b": torch.nn.Parameter(torch.tensor([[3.0]]))}


def move(parameters: Parameters, distance: float) -> None:
    with torch.no_grad():
        for value in parameters.values():
            value.add_(distance)


def static(fisher: Tensors, scale: str) -> Callable[..., Consolidation]:
    return partial(StaticFisher, fisher=fisher, scale=scale)


TINY = {name: value * 1e-9 for name, value in FISHER.items()}
ZERO = {"a": torch.zeros(2), "b": torch.zeros(1, 1)}
# kind: how it is built, the observed gradients, and by hand F of a and of b
KINDS: dict[str, tuple[Callable[..., Consolidation], dict[str, torch.Tensor | None], list[float], float]] = {
    "uniform": (Uniform, SEEN, [1, 1], 1),
    "adaptive": (AdaptiveFisher, SEEN, [0.2, 1.8], 1),
    "adaptive without gradients": (AdaptiveFisher, {"a": None, "b": torch.zeros(1, 1)}, [1e-6, 1e-6], 1e-6),
    "static, each by its own mean": (static(FISHER, "tensor"), SEEN, [1 / 3, 5 / 3], 1),
    # the proportions between the tensors stay; the mean of the tensors' means would be 7.5
    "static, all by one mean": (static(FISHER, "model"), SEEN, [1 / 6, 5 / 6], 2),
    "tiny diagonals by one mean": (static(TINY, "model"), SEEN, [1 / 6, 5 / 6], 2),
    "a diagonal of zeros": (static(FISHER | {"a": ZERO["a"]}, "tensor"), SEEN, [1e-6, 1e-6], 1),
    "one of zeros by one mean": (static(FISHER | {"a": ZERO["a"]}, "model"), SEEN, [0, 0], 3),
    "only zeros by one mean": (static(ZERO, "model"), SEEN, [1e-6, 1e-6], 1e-6),
}


@pytest.mark.parametrize("weight", [1.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_penalty_and_its_gradient_by_hand(kind: str, weight: float) -> None:
    """weight * sum F * distance^2, and 2 * weight * F * distance, which is added to the gradient that is there.

    Fixed diagonals do not depend on the gradients, and are not changed: several kinds have the same.
    """
    build, seen, of_a, of_b = KINDS[kind]
    parameters = two_parameters()
    consolidates = build(parameters, weight=weight)
    consolidates.observe(seen)
    move(parameters, 0.1)
    parameters["a"].grad = torch.tensor([5.0, 7.0])
    penalty = consolidates.pull(parameters).item()
    assert penalty == pytest.approx(weight * (sum(of_a) + of_b) * 0.1**2, rel=1e-4)
    own = parameters["a"].grad - torch.tensor([5.0, 7.0])
    torch.testing.assert_close(own, 2 * weight * 0.1 * torch.tensor(of_a), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parameters["b"].grad, 2 * weight * 0.1 * torch.tensor([[of_b]]))


def test_no_consolidation_does_nothing() -> None:
    parameters = two_parameters()
    assert CONSOLIDATIONS["none"](parameters).pull(parameters) == 0
    assert parameters["a"].grad is None


# Squares 1, 9 -> F = (0.2, 1.8); squares 4, 0 -> F = (2, 0); squares 25, 25 -> F = (1, 1); squares 0, 49 -> F = (0, 2).
FIRST, SECOND, THIRD, FOURTH = (torch.tensor(row) for row in ([1.0, -3.0], [2.0, 0.0], [5.0, 5.0], [0.0, 7.0]))
OVERFLOW = torch.tensor([1.0, torch.inf])


@pytest.mark.parametrize(
    ("iterations", "observed", "expected"),
    [
        # the mean gradient of the first two, (1.5, -1.5), would give F = (1, 1)
        (3, [FIRST, SECOND, THIRD], [[0.2, 1.8], [1.1, 0.9], [3.2 / 3, 2.8 / 3]]),
        (2, [FIRST, SECOND, THIRD, FOURTH], [[0.2, 1.8], [1.1, 0.9], [1.1, 0.9], [1.1, 0.9]]),
        (1, [FIRST, SECOND, THIRD, FOURTH], [[0.2, 1.8]] * 4),
        (2, [None, FIRST], [[1e-6, 1e-6], [0.1 + 0.5e-6, 0.9 + 0.5e-6]]),
        (2, [FIRST, OVERFLOW, SECOND, THIRD], [[0.2, 1.8], [0.2, 1.8], [1.1, 0.9], [1.1, 0.9]]),
        (2, [OVERFLOW], [[0.0, 0.0]]),
    ],
    ids=["the mean so far", "then constant", "the first", "an iteration without gradient", "an overflow", "only one"],
)
def test_frozen_fisher_is_the_mean_importance_of_the_first_iterations(
    iterations: int, observed: list[torch.Tensor | None], expected: list[list[float]]
) -> None:
    parameters = {"a": torch.nn.Parameter(torch.tensor([1.0, 2.0]))}
    consolidates = FrozenFisher(parameters, weight=0.5, iterations=iterations)
    move(parameters, 1.0)
    for gradient, importance in zip(observed, expected, strict=True):
        parameters["a"].grad = None
        consolidates.observe({"a": gradient})
        penalty, pulled = consolidates.pull(parameters), parameters["a"].grad
        assert pulled is not None and pulled.tolist() == pytest.approx(importance, rel=1e-6)  # 2 * weight * F * 1
        assert penalty.item() == pytest.approx(sum(importance) / 2)


@pytest.mark.parametrize("wrong", [{"a": FISHER["a"]}, FISHER | {"b": torch.ones(1)}])
def test_diagonals_of_another_model_are_refused(wrong: Tensors) -> None:
    with pytest.raises(ContractError, match=r"1 parameters .* first is b\..*stage teach"):
        static(wrong, "tensor")(two_parameters(), weight=1.0)
