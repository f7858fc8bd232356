"""Adaptive weight consolidation: weights on which the replayed pairs depend now are pulled hardest to their start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from gift_core.anchors.penalty import add_gradients, copy_of, distances, total

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
        present = [
            torch.zeros_like(start) if gradient is None else gradient
            for gradient, start in zip(gradients.values(), self._start, strict=True)
        ]
        self._importance = normalised_squares(present)

    def pull(self, parameters: Mapping[str, torch.nn.Parameter]) -> torch.Tensor:
        """Add the penalty's gradient 2 * weight * F * (theta - theta_start) to `.grad`; return the penalty.

        F is a constant here: no gradient flows through it.
        """
        assert self._importance, "observe() comes before pull()"
        values = list(parameters.values())
        moved = distances(values, self._start)
        weighted = list(torch._foreach_mul(self._importance, moved))
        add_gradients(values, weighted, factor=2.0 * self._weight)
        return self._weight * total(weighted, moved)


@torch.no_grad()
def normalised_squares(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """g^2 / mean(g^2) for each tensor, so that every tensor's importance has mean 1; 1e-6 where g is all zero.

    # differs: a gradient that is exactly zero counts as none (0 / 0 otherwise).
    """
    squares = torch._foreach_mul(list(gradients), list(gradients))
    means = torch.stack([square.mean() for square in squares])
    absent = means == 0
    torch._foreach_div_(squares, list(torch.where(absent, 1.0, means).unbind()))
    torch._foreach_add_(squares, list((absent * NO_GRADIENT_IMPORTANCE).unbind()))
    return list(squares)
