"""Weight averaging: a running mean over training, and interpolations with the start and the pre-trained weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

Parameters = Mapping[str, torch.nn.Parameter]
Weights = Mapping[str, torch.Tensor]


class WeightAveraging(Protocol):
    """Observes the weights during a task's training and replaces them at its end. By default it keeps nothing."""

    def observe(self, iterations_done: int, parameters: Parameters) -> None:
        """Take the weights after `iterations_done` iterations, 1, 2 ..."""
        return

    def finish(self, parameters: Parameters) -> None:
        """Overwrite the weights with the average."""

    def state(self) -> list[torch.Tensor]:
        """Return the tensors that change during training, always in one order (see Consolidation.state)."""
        return []


class RunningMean(WeightAveraging):
    """The mean of the weights at the start and after every `every` iterations (ZSCL, section 3.3, equation 8)."""

    def __init__(self, parameters: Parameters, *, every: int) -> None:
        self._every = every
        self._count = torch.ones((), dtype=torch.int64)
        self._mean = [value.detach().clone() for value in parameters.values()]

    @torch.no_grad()
    def observe(self, iterations_done: int, parameters: Parameters) -> None:
        if iterations_done % self._every == 0:
            self._count += 1
            torch._foreach_lerp_(self._mean, list(parameters.values()), 1 / int(self._count))

    @torch.no_grad()
    def finish(self, parameters: Parameters) -> None:
        torch._foreach_copy_([*parameters.values()], self._mean)

    def state(self) -> list[torch.Tensor]:
        return [self._count, *self._mean]


class Interpolation(WeightAveraging):
    """alpha * the weights at the end + (1 - alpha) * those at the start (WiSE-FT, section 3)."""

    def __init__(self, parameters: Parameters, *, alpha: float) -> None:
        self._alpha = alpha
        self._start = [value.detach().clone() for value in parameters.values()]

    @torch.no_grad()
    def finish(self, parameters: Parameters) -> None:
        weights: list[torch.Tensor] = list(parameters.values())
        torch._foreach_copy_(weights, interpolate(weights, self._start, alpha=self._alpha))


@torch.no_grad()
def interpolate(new: Sequence[torch.Tensor], old: Sequence[torch.Tensor], *, alpha: float) -> list[torch.Tensor]:
    """Returns alpha * new + (1 - alpha) * old for each tensor; alpha (0-1) is the share of the new weights."""
    return list(torch._foreach_lerp(list(old), list(new), alpha))


def released_weights(trained: Weights, pretrained: Weights, *, alpha: float) -> dict[str, torch.Tensor]:
    """Returns theta_0 + alpha (theta_t - theta_0) by name: theta_0 are the pre-trained, theta_t the trained weights.

    Counters, such as those of BatchNorm, are those of theta_t.
    """
    names = [name for name, value in trained.items() if value.is_floating_point()]
    mixed = interpolate([trained[name] for name in names], [pretrained[name] for name in names], alpha=alpha)
    return {**trained, **dict(zip(names, mixed, strict=True))}
