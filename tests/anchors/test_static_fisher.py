"""Importances from a file: scaled by hand, constant during the task, refused where they belong to another model."""

from __future__ import annotations

import pytest
import torch

from gift_core.consolidation import StaticFisher
from gift_core.errors import ContractError

Tensors = dict[str, torch.Tensor]

# Means: 3 of a, 12 of b, (1 + 5 + 12) / 3 = 6 of all weights.
FISHER = {"a": torch.tensor([1.0, 5.0]), "b": torch.tensor([[12.0]])}


def two_parameters() -> dict[str, torch.nn.Parameter]:
    return {"a": torch.nn.Parameter(torch.tensor([1.0, 2.0])), "b": torch.nn.Parameter(torch.tensor([[3.0]]))}


def pulled(
    scale: str, *, weight: float = 1.0, fisher: Tensors = FISHER, distance: float = 0.1
) -> tuple[float, Tensors]:
    """The penalty and the gradients after every weight moved by `distance`."""
    parameters = two_parameters()
    anchor = StaticFisher(parameters, fisher, weight=weight, scale=scale)
    for value in parameters.values():
        value.data += distance
    anchor.observe({"a": None, "b": None})
    penalty = anchor.pull(parameters).item()
    return penalty, {name: value.grad for name, value in parameters.items() if value.grad is not None}


def test_scale_tensor_divides_each_diagonal_by_its_own_mean() -> None:
    # F = (1/3, 5/3) and 1; the penalty is their sum, 3, times 0.1^2; the gradient 2 * F * 0.1
    penalty, gradients = pulled("tensor")
    assert penalty == pytest.approx(0.03, rel=1e-5)
    torch.testing.assert_close(gradients["a"], torch.tensor([0.2 / 3, 1.0 / 3]))
    torch.testing.assert_close(gradients["b"], torch.tensor([[0.2]]))


def test_scale_model_divides_all_diagonals_by_one_mean_over_all_weights() -> None:
    # F = (1/6, 5/6) and 2: the proportions between the tensors stay. The mean of the tensors' means would be 7.5
    penalty, gradients = pulled("model")
    assert penalty == pytest.approx(0.03, rel=1e-5)
    torch.testing.assert_close(gradients["a"], torch.tensor([0.2 / 6, 1.0 / 6]))
    torch.testing.assert_close(gradients["b"], torch.tensor([[0.4]]))


@pytest.mark.parametrize("scale", ["tensor", "model"])
def test_the_weight_multiplies_penalty_and_gradient(scale: str) -> None:
    (penalty, gradients), (half, halves) = pulled(scale), pulled(scale, weight=0.5)
    assert half == pytest.approx(penalty / 2)
    for name in FISHER:
        torch.testing.assert_close(halves[name], gradients[name] / 2)


@pytest.mark.parametrize("scale", ["tensor", "model"])
def test_the_scale_of_the_file_does_not_matter(scale: str) -> None:
    tiny = {name: value * 1e-9 for name, value in FISHER.items()}
    assert pulled(scale, fisher=tiny)[0] == pytest.approx(pulled(scale)[0], rel=1e-5)


def test_a_tensor_of_zeros_is_pulled_by_a_millionth_where_each_has_its_own_mean() -> None:
    zeros = {"a": torch.zeros(2), "b": FISHER["b"]}
    _, gradients = pulled("tensor", fisher=zeros)
    torch.testing.assert_close(gradients["a"], torch.full((2,), 2 * 1e-6 * 0.1))
    torch.testing.assert_close(gradients["b"], torch.tensor([[0.2]]))


def test_a_tensor_of_zeros_is_free_where_all_have_one_mean() -> None:
    # mean 12 / 3 = 4
    _, gradients = pulled("model", fisher={"a": torch.zeros(2), "b": FISHER["b"]})
    assert gradients["a"].tolist() == [0.0, 0.0]
    torch.testing.assert_close(gradients["b"], torch.tensor([[2 * 3 * 0.1]]))


@pytest.mark.parametrize("scale", ["tensor", "model"])
def test_all_zeros_leave_a_millionth_everywhere(scale: str) -> None:
    penalty, _ = pulled(scale, fisher={name: torch.zeros_like(value) for name, value in FISHER.items()})
    assert penalty == pytest.approx(3 * 1e-6 * 0.1**2, rel=1e-4)


def test_what_it_sees_during_the_task_changes_nothing() -> None:
    parameters = two_parameters()
    anchor = StaticFisher(parameters, FISHER, weight=1.0, scale="model")
    parameters["b"].data += 1.0
    before = anchor.pull(parameters).item()
    anchor.observe({"a": torch.tensor([100.0, 0.0]), "b": torch.tensor([[0.0]])})
    assert before == pytest.approx(2.0) and anchor.pull(parameters).item() == before


def test_weights_at_their_start_are_not_pulled() -> None:
    penalty, gradients = pulled("model", distance=0.0)
    assert penalty == 0 and all(not gradient.any() for gradient in gradients.values())


def test_the_order_of_the_file_does_not_matter() -> None:
    reversed_file = dict(reversed(FISHER.items()))
    assert list(reversed_file) == ["b", "a"]
    torch.testing.assert_close(pulled("model", fisher=reversed_file)[1], pulled("model")[1])


@pytest.mark.parametrize("wrong", [{"a": FISHER["a"]}, FISHER | {"b": torch.ones(1)}])
def test_diagonals_of_another_model_are_refused(wrong: Tensors) -> None:
    with pytest.raises(ContractError, match=r"1 parameters .* first b\..*stage teach"):
        pulled("tensor", fisher=wrong)
