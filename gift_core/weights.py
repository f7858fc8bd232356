"""What is kept of a task's training: the last weights, their running mean, or a mix with those at the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

Parameters = Mapping[str, torch.nn.Parameter]


class Keeper(Protocol):
    """Watches a task's training and decides which weights are kept of it."""

    def observe(self, steps_done: int, parameters: Parameters) -> None:
        """See the weights after `steps_done` steps, 1, 2 ..."""

    def finish(self, parameters: Parameters) -> None:
        """Overwrite the weights by those that are kept."""


class RunningMean:
    """The mean of the weights at the start and after every `every` steps (ZSCL, section 3.3, equation 8)."""

    def __init__(self, parameters: Parameters, *, every: int) -> None:
        self._every, self._count = every, 1
        self._mean = _copies(parameters)

    @torch.no_grad()
    def observe(self, steps_done: int, parameters: Parameters) -> None:
        """Take the weights into the mean where they are due."""
        if steps_done % self._every == 0:
            self._count += 1
            torch._foreach_lerp_(self._mean, list(parameters.values()), 1 / self._count)

    def finish(self, parameters: Parameters) -> None:
        """Keep the mean."""
        _overwrite(parameters, self._mean)


class Interpolation:
    """alpha * the weights at the end + (1 - alpha) * those at the start (WiSE-FT, section 3)."""

    def __init__(self, parameters: Parameters, *, alpha: float) -> None:
        self._alpha, self._start = alpha, _copies(parameters)

    def observe(self, steps_done: int, parameters: Parameters) -> None:
        """Learn nothing: only the start and the end count."""

    def finish(self, parameters: Parameters) -> None:
        """Keep the mix."""
        _overwrite(parameters, mixed(list(parameters.values()), self._start, alpha=self._alpha))


@torch.no_grad()
def mixed(new: Sequence[torch.Tensor], old: Sequence[torch.Tensor], *, alpha: float) -> list[torch.Tensor]:
    """alpha * new + (1 - alpha) * old, tensor by tensor; alpha, 0-1, is the share of the new weights."""
    return list(torch._foreach_lerp(list(old), list(new), alpha))


def _copies(parameters: Parameters) -> list[torch.Tensor]:
    return [value.detach().clone() for value in parameters.values()]


@torch.no_grad()
def _overwrite(parameters: Parameters, kept: Sequence[torch.Tensor]) -> None:
    torch._foreach_copy_(list(parameters.values()), list(kept))
