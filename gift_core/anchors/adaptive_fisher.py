"""Adaptive weight consolidation: weights on which the replayed pairs depend now are pulled hardest to their start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from gift_core.anchors.penalty import copy_of, weighted_pull

NO_GRADIENT_IMPORTANCE = 1e-6


class AdaptiveFisherAnchor:
    """Penalty = weight * sum F (theta - theta_start)^2, with F measured anew in every step (GIFT, section 3.3).

    F of a tensor is g^2 / mean(g^2), g the gradient of the replay terms of this very step; 1e-6 where there is none.
    The frozen temperature never moves, so its share (1e-6 * 0) is left out.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], *, weight: float) -> None:
        self._start, self._weight = copy_of(parameters), weight
        self._importance: list[torch.Tensor] = []

    def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """Take the importance of each tensor from the gradients of the replay terms, before the task's are added."""
        self._importance = []  # the last step's goes first: each is as large as the model
        self._importance = normalised_squares(or_zero(gradients, self._start))

    def pull(self, parameters: Mapping[str, torch.nn.Parameter]) -> torch.Tensor:
        """Add the penalty's gradient 2 * weight * F * (theta - theta_start) to `.grad`; return the penalty.

        F is a constant here: no gradient flows through it.
        """
        assert self._importance, "observe() comes before pull()"
        return weighted_pull(parameters, self._start, self._importance, weight=self._weight)


def or_zero(gradients: Mapping[str, torch.Tensor | None], like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The gradients, with zeros where a parameter has none."""
    pairs = zip(gradients.values(), like, strict=True)
    return [torch.zeros_like(value) if gradient is None else gradient for gradient, value in pairs]


@torch.no_grad()
def normalised_squares(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """g^2 / mean(g^2) for each tensor, so that every tensor's importance has mean 1; 1e-6 where g is all zero.

    # differs: a gradient that is exactly zero counts as none (0 / 0 otherwise).
    """
    return _divide_by_means(torch._foreach_mul(list(gradients), list(gradients)))


def divided_by_means(squares: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Each tensor over its own mean; 1e-6 in a tensor that is all zero."""
    return _divide_by_means([square.clone() for square in squares])


@torch.no_grad()
def _divide_by_means(squares: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """In place."""
    means = torch.stack([square.mean() for square in squares])
    absent = means == 0
    torch._foreach_div_(list(squares), list(torch.where(absent, 1.0, means).unbind()))
    torch._foreach_add_(list(squares), list((absent * NO_GRADIENT_IMPORTANCE).unbind()))
    return list(squares)
