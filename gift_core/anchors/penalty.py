"""The quadratic penalty over all tensors of a model at once, with torch's fused list operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch


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
    moved = distances(values, start)
    weighted = list(torch._foreach_mul(list(importance), moved))
    add_gradients(values, weighted, factor=2.0 * weight)
    return weight * total(weighted, moved)


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
def total(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum over all tensors and all their elements of left * right; a scalar."""
    return torch.stack([torch.dot(a.reshape(-1), b.reshape(-1)) for a, b in zip(left, right, strict=True)]).sum()
