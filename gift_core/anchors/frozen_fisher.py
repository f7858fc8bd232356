"""The adaptive importance, frozen after the first steps of a task."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gift_core.anchors.adaptive_fisher import normalised_squares, or_zero
from gift_core.anchors.penalty import copy_of, weighted_pull


class FrozenFisherAnchor:
    """Penalty = weight * sum F (theta - theta_start)^2; F is the running mean of the adaptive importances.

    Step k < `steps` pulls with the mean over steps 0 ... k, every later one with the mean over the first `steps`.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], *, weight: float, steps: int) -> None:
        self._start, self._weight, self._steps = copy_of(parameters), weight, steps
        self._seen = 0
        self._importance = [torch.zeros_like(start) for start in self._start]

    def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """Take this step's importance into the mean, unless the mean is frozen."""
        if self._seen == self._steps:
            return
        self._seen += 1
        newest = normalised_squares(or_zero(gradients, self._start))
        torch._foreach_lerp_(self._importance, newest, 1 / self._seen)

    def pull(self, parameters: Mapping[str, torch.nn.Parameter]) -> torch.Tensor:
        """Add the penalty's gradient 2 * weight * F * (theta - theta_start) to `.grad`; return the penalty."""
        assert self._seen, "observe() comes before pull()"
        return weighted_pull(parameters, self._start, self._importance, weight=self._weight)
