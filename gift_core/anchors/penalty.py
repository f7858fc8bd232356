"""The quadratic penalty over the tensors of a model, many at once with torch's fused list operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch

GROUP_BYTES = 2**26  # 64 MiB: enough tensors for torch's list operations to be worth it


def copy_of(parameters: Mapping[str, torch.nn.Parameter]) -> list[torch.Tensor]:
    """theta_start: the values as they are now, in the order of `parameters`."""
    return [value.detach().clone() for value in parameters.values()]


def weighted_pull(
    parameters: Mapping[str, torch.Tensor],
    start: Sequence[torch.Tensor],
    importance: Sequence[torch.Tensor],
    *,
    weight: float,
) -> torch.Tensor:
    """Add 2 * weight * F * (theta - theta_start) to `.grad`; return the penalty weight * sum F (theta - theta_start)^2.

    F is a constant: no gradient flows through it.
    """
    values = list(parameters.values())
    products = []
    for part in groups(values):
        moved = distances(values[part], start[part])
        weighted = list(torch._foreach_mul(list(importance[part]), moved))
        add_gradients(values[part], weighted, factor=2.0 * weight)
        products += dot_products(weighted, moved)
    return weight * torch.stack(products).sum()


def groups(tensors: Sequence[torch.Tensor]) -> Iterator[slice]:
    """Neighbours that together have at most GROUP_BYTES, or one alone that has more.

    What is computed of a group at a time never needs another copy of the whole model.
    """
    start, size = 0, 0
    for index, tensor in enumerate(tensors):
        if index > start and size + tensor.nbytes > GROUP_BYTES:
            yield slice(start, index)
            start, size = index, 0
        size += tensor.nbytes
    yield slice(start, len(tensors))


@torch.no_grad()
def distances(parameters: Iterable[torch.Tensor], start: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """theta - theta_start, a tensor each."""
    return list(torch._foreach_sub(list(parameters), list(start)))


@torch.no_grad()
def add_gradients(parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor], *, factor: float) -> None:
    """`.grad` += factor * gradient, for every tensor; a parameter without `.grad` gets one."""
    torch._foreach_add_([_gradient_of(parameter) for parameter in parameters], list(gradients), alpha=factor)


def _gradient_of(parameter: torch.Tensor) -> torch.Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


@torch.no_grad()
def dot_products(left: Iterable[torch.Tensor], right: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """The sum of left * right over all elements, a scalar a tensor."""
    return [torch.dot(a.reshape(-1), b.reshape(-1)) for a, b in zip(left, right, strict=True)]
