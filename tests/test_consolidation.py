"""Every kind of consolidation against numbers computed by hand, and the closed form against autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gift_core import computation
from gift_core.computation import groups
from gift_core.consolidation import (
    CONSOLIDATIONS,
    AdaptiveFisher,
    Consolidation,
    FrozenFisher,
    NoConsolidation,
    Parameters,
    StaticFisher,
    Uniform,
    divided_by_means,
    normalized_squares,
)
from gift_core.errors import ContractError

Tensors = dict[str, torch.Tensor]
Build = Callable[..., Consolidation]

# The means are 3 for a, 12 for b, and (1 + 5 + 12) / 3 = 6 over all weights.
FISHER = {"a": torch.tensor([1.0, 5.0]), "b": torch.tensor([[12.0]])}


def two_parameters() -> dict[str, torch.nn.Parameter]:
    return {"a": torch.nn.Parameter(torch.tensor([1.0, 2.0])), "b": torch.nn.Parameter(torch.tensor([[3.0]]))}


def move(parameters: Parameters, distance: float) -> None:
    with torch.no_grad():
        for value in parameters.values():
            value.add_(distance)


def pull_after(
    build: Build, gradients: dict[str, torch.Tensor | None], *, distance: float = 0.1
) -> tuple[float, Tensors]:
    """The penalty and the gradients after one observation, with every weight moved by `distance`."""
    parameters = two_parameters()
    consolidates = build(parameters)
    consolidates.observe(gradients)
    move(parameters, distance)
    penalty = consolidates.pull(parameters).item()
    return penalty, {name: value.grad for name, value in parameters.items() if value.grad is not None}


def test_importance_is_the_squared_gradient_divided_by_its_mean() -> None:
    # squares 1, 9: mean 5 -> 0.2, 1.8; a tensor of one element has importance 1 for any gradient
    first, second = normalized_squares([torch.tensor([1.0, -3.0]), torch.tensor([[0.01]])])
    torch.testing.assert_close(first, torch.tensor([0.2, 1.8]))
    torch.testing.assert_close(second, torch.tensor([[1.0]]))


def test_the_scale_of_the_gradient_has_no_effect() -> None:
    gradient = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    large, small = normalized_squares([gradient, gradient * 1e-4])
    torch.testing.assert_close(large, small)


@pytest.mark.parametrize("scale", [2.0**16, 2.0**24, 2.0**-8])
def test_a_loss_scale_that_is_a_power_of_two_changes_no_bit_of_the_importance(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(50, generator=generator) * 10.0**power for power in range(-12, 3, 2)]
    scaled = normalized_squares([gradient * scale for gradient in gradients])
    assert all(torch.equal(*pair) for pair in zip(scaled, normalized_squares(gradients), strict=True))


def test_a_tensor_without_gradient_has_importance_one_millionth() -> None:
    penalty, gradients = pull_after(
        lambda parameters: AdaptiveFisher(parameters, weight=1.0), {"a": None, "b": torch.zeros(1, 1)}, distance=2.0
    )
    assert penalty == pytest.approx((2 + 1) * 1e-6 * 2.0**2)
    torch.testing.assert_close(gradients["a"], torch.full((2,), 2 * 1e-6 * 2.0))


def test_adaptive_fisher_by_hand() -> None:
    seen = {"a": torch.tensor([1.0, -3.0]), "b": torch.tensor([[4.0]])}
    penalty, gradients = pull_after(lambda parameters: AdaptiveFisher(parameters, weight=0.5), seen)
    # F = (0.2, 1.8), 1; penalty 0.5 * (0.2 + 1.8 + 1) * 0.01; gradient 2 * 0.5 * F * 0.1
    assert penalty == pytest.approx(0.015, rel=1e-5)
    torch.testing.assert_close(gradients["a"], torch.tensor([0.02, 0.18]))
    torch.testing.assert_close(gradients["b"], torch.tensor([[0.1]]))


def test_adaptive_fisher_needs_an_observation_before_it_pulls() -> None:
    parameters = two_parameters()
    with pytest.raises(AssertionError, match="observe"):
        AdaptiveFisher(parameters, weight=1.0).pull(parameters)


def test_uniform_by_hand() -> None:
    penalty, gradients = pull_after(lambda parameters: Uniform(parameters, weight=0.5), {"a": torch.ones(2), "b": None})
    assert penalty == pytest.approx(0.5 * 3 * 0.01, rel=1e-5)
    torch.testing.assert_close(gradients["a"], torch.full((2,), 0.1))


def test_no_consolidation_does_nothing() -> None:
    assert pull_after(NoConsolidation, {"a": torch.ones(2), "b": None}) == (0, {})


def test_pull_adds_to_the_gradients_that_are_there() -> None:
    parameters = two_parameters()
    consolidates = Uniform(parameters, weight=1.0)
    parameters["a"].grad = torch.tensor([5.0, 7.0])
    move(parameters, 1.0)
    consolidates.pull(parameters)
    torch.testing.assert_close(parameters["a"].grad, torch.tensor([7.0, 9.0]))


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_adaptive_fisher_equals_autograd_with_a_constant_importance(weight: float) -> None:
    """An independent second implementation: the penalty as a graph, its gradient by autograd."""
    generator = torch.Generator().manual_seed(1)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    parameters = dict(layers.named_parameters())
    start = {name: value.detach().clone() for name, value in parameters.items()}
    consolidates = AdaptiveFisher(parameters, weight=weight)
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
    consolidates.observe({name: value.grad for name, value in parameters.items()})
    layers(inputs).sin().sum().backward()
    torch.testing.assert_close(consolidates.pull(parameters), penalty.detach())
    for value, gradient in zip(parameters.values(), expected, strict=True):
        torch.testing.assert_close(value.grad, gradient)


# Squares 1, 9 -> F = (0.2, 1.8); squares 4, 0 -> F = (2, 0); squares 25, 25 -> F = (1, 1); squares 0, 49 -> F = (0, 2).
OBSERVED = [torch.tensor([1.0, -3.0]), torch.tensor([2.0, 0.0]), torch.tensor([5.0, 5.0]), torch.tensor([0.0, 7.0])]
OVERFLOW = torch.tensor([1.0, torch.inf])


def frozen_importances(
    observed: list[torch.Tensor | None], *, iterations: int, weight: float = 1.0
) -> list[list[float]]:
    """F of each iteration, from the gradient 2 * weight * F of weights that moved by 1."""
    parameters = {"a": torch.nn.Parameter(torch.tensor([1.0, 2.0]))}
    consolidates = FrozenFisher(parameters, weight=weight, iterations=iterations)
    move(parameters, 1.0)
    importances = []
    for gradient in observed:
        parameters["a"].grad = None
        consolidates.observe({"a": gradient})
        penalty = consolidates.pull(parameters)
        pulled = parameters["a"].grad
        assert pulled is not None and penalty.item() == pytest.approx(pulled.sum().item() / 2)
        importances.append((pulled / (2 * weight)).tolist())
    return importances


def test_frozen_fisher_is_at_first_the_mean_importance_so_far() -> None:
    # (0.2, 1.8), then (2.2, 1.8) / 2, then (3.2, 2.8) / 3; the mean gradient (1.5, -1.5) would give F = (1, 1)
    assert frozen_importances(OBSERVED, iterations=3)[:3] == [
        pytest.approx([0.2, 1.8]),
        pytest.approx([1.1, 0.9]),
        pytest.approx([3.2 / 3, 2.8 / 3]),
    ]


def test_frozen_fisher_is_then_the_mean_over_the_first_iterations() -> None:
    assert frozen_importances(OBSERVED, iterations=2)[1:] == [pytest.approx([1.1, 0.9])] * 3
    assert frozen_importances(OBSERVED, iterations=1) == [pytest.approx([0.2, 1.8])] * 4


def test_frozen_fisher_multiplies_by_its_weight() -> None:
    half, whole = (frozen_importances(OBSERVED, iterations=2, weight=weight) for weight in (0.5, 1.0))
    assert half == [pytest.approx(row) for row in whole]


def test_an_iteration_without_gradient_counts_one_millionth_in_frozen_fisher() -> None:
    importances = frozen_importances([None, OBSERVED[0]], iterations=2)
    assert importances[1] == pytest.approx([0.1 + 0.5e-6, 0.9 + 0.5e-6], rel=1e-6)


def test_frozen_fisher_ignores_an_overflow() -> None:
    importances = frozen_importances([OBSERVED[0], OVERFLOW, *OBSERVED[1:]], iterations=2)
    expected = frozen_importances(OBSERVED, iterations=2)
    assert importances == [expected[0], expected[0], *expected[1:]]
    assert frozen_importances([OVERFLOW], iterations=2) == [[0.0, 0.0]]


def static_pull(
    scale: str, *, weight: float = 1.0, fisher: Tensors = FISHER, distance: float = 0.1
) -> tuple[float, Tensors]:
    def build(parameters: Parameters) -> StaticFisher:
        return StaticFisher(parameters, fisher=fisher, weight=weight, scale=scale)

    return pull_after(build, {"a": None, "b": None}, distance=distance)


def test_scale_tensor_divides_each_diagonal_by_its_own_mean() -> None:
    # F = (1/3, 5/3) and 1; the penalty is their sum, 3, times 0.1^2; the gradient is 2 * F * 0.1
    penalty, gradients = static_pull("tensor")
    assert penalty == pytest.approx(0.03, rel=1e-5)
    torch.testing.assert_close(gradients["a"], torch.tensor([0.2 / 3, 1.0 / 3]))
    torch.testing.assert_close(gradients["b"], torch.tensor([[0.2]]))


def test_scale_model_divides_all_diagonals_by_the_mean_over_all_weights() -> None:
    # F = (1/6, 5/6) and 2: the proportions between the tensors stay. The mean of the tensors' means would be 7.5
    penalty, gradients = static_pull("model")
    assert penalty == pytest.approx(0.03, rel=1e-5)
    torch.testing.assert_close(gradients["a"], torch.tensor([0.2 / 6, 1.0 / 6]))
    torch.testing.assert_close(gradients["b"], torch.tensor([[0.4]]))


@pytest.mark.parametrize("scale", ["tensor", "model"])
def test_static_fisher_multiplies_by_its_weight(scale: str) -> None:
    (penalty, gradients), (half, halves) = static_pull(scale), static_pull(scale, weight=0.5)
    assert half == pytest.approx(penalty / 2)
    for name in FISHER:
        torch.testing.assert_close(halves[name], gradients[name] / 2)


@pytest.mark.parametrize("scale", ["tensor", "model"])
def test_the_scale_of_the_diagonals_has_no_effect(scale: str) -> None:
    tiny = {name: value * 1e-9 for name, value in FISHER.items()}
    assert static_pull(scale, fisher=tiny)[0] == pytest.approx(static_pull(scale)[0], rel=1e-5)


def test_a_diagonal_of_zeros_is_one_millionth_with_scale_tensor_and_zero_with_scale_model() -> None:
    fisher = {"a": torch.zeros(2), "b": FISHER["b"]}
    by_tensor, by_model = static_pull("tensor", fisher=fisher)[1], static_pull("model", fisher=fisher)[1]
    torch.testing.assert_close(by_tensor["a"], torch.full((2,), 2 * 1e-6 * 0.1))
    torch.testing.assert_close(by_tensor["b"], torch.tensor([[0.2]]))
    assert by_model["a"].tolist() == [0.0, 0.0]
    torch.testing.assert_close(by_model["b"], torch.tensor([[2 * 3 * 0.1]]))  # the mean is 12 / 3 = 4


@pytest.mark.parametrize("scale", ["tensor", "model"])
def test_diagonals_that_are_all_zero_are_one_millionth_everywhere(scale: str) -> None:
    penalty, _ = static_pull(scale, fisher={name: torch.zeros_like(value) for name, value in FISHER.items()})
    assert penalty == pytest.approx(3 * 1e-6 * 0.1**2, rel=1e-4)


def test_static_fisher_does_not_depend_on_the_observed_gradients() -> None:
    parameters = two_parameters()
    consolidates = StaticFisher(parameters, fisher=FISHER, weight=1.0, scale="model")
    parameters["b"].data += 1.0
    before = consolidates.pull(parameters).item()
    consolidates.observe({"a": torch.tensor([100.0, 0.0]), "b": torch.tensor([[0.0]])})
    assert before == pytest.approx(2.0) and consolidates.pull(parameters).item() == before


def test_weights_at_their_start_are_not_pulled() -> None:
    penalty, gradients = static_pull("model", distance=0.0)
    assert penalty == 0 and all(not gradient.any() for gradient in gradients.values())


def test_the_order_of_the_diagonals_has_no_effect() -> None:
    backwards = dict(reversed(FISHER.items()))
    assert list(backwards) == ["b", "a"]
    torch.testing.assert_close(static_pull("model", fisher=backwards)[1], static_pull("model")[1])


@pytest.mark.parametrize("wrong", [{"a": FISHER["a"]}, FISHER | {"b": torch.ones(1)}])
def test_diagonals_of_another_model_are_refused(wrong: Tensors) -> None:
    with pytest.raises(ContractError, match=r"1 parameters .* first is b\..*stage teach"):
        static_pull("tensor", fisher=wrong)


def test_dividing_by_means_does_not_change_its_input() -> None:
    squares = [value.square() for value in random_tensors(4)]
    before = [square.clone() for square in squares]
    divided = divided_by_means(squares)
    assert all(torch.equal(*pair) for pair in zip(squares, before, strict=True))
    assert all(value.mean().item() == pytest.approx(1) for value in divided)


def random_tensors(seed: int) -> list[torch.Tensor]:
    """Six tensors of float32, with 3 to 200 elements."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator) for size in (3, 50, 1, 7, 200, 2)]


@pytest.mark.parametrize(("limit", "expected"), [(1, 6), (240, 4), (10**6, 1)])
def test_groups_hold_every_tensor_once_and_at_most_the_limit_in_bytes(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: int
) -> None:
    monkeypatch.setattr(computation, "GROUP_BYTES", limit)
    values = random_tensors(0)
    parts = [values[part] for part in groups(values)]
    assert len(parts) == expected
    assert [value.data_ptr() for part in parts for value in part] == [value.data_ptr() for value in values]
    assert all(len(part) == 1 or sum(value.nbytes for value in part) <= limit for part in parts)


@pytest.mark.parametrize("kind", ["uniform", "adaptive_fisher"])
def test_pulling_in_groups_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    found = []
    for limit in (10**6, 240, 1):
        monkeypatch.setattr(computation, "GROUP_BYTES", limit)
        parameters = {str(index): torch.nn.Parameter(value) for index, value in enumerate(random_tensors(1))}
        consolidates = CONSOLIDATIONS[kind](parameters, weight=0.3)
        for parameter, moved, gradient in zip(parameters.values(), random_tensors(2), random_tensors(3), strict=True):
            parameter.data += moved
            parameter.grad = gradient
        consolidates.observe({name: parameter.grad for name, parameter in parameters.items()})
        penalty = consolidates.pull(parameters)
        found.append([penalty, *(parameter.grad for parameter in parameters.values())])
    for others in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], others, strict=True))
