"""Weight consolidation: a quadratic penalty that pulls the weights towards their values at the start of a task.

Penalty = weight * sum F * (theta - theta_start)^2 over all trainable parameters. The kinds differ in the importance F.
F is a constant in the gradient 2 * weight * F * (theta - theta_start), so the gradient is added to `.grad` in closed
form, without an autograd graph and without a second model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from gift_core.computation import groups
from gift_core.errors import ContractError

Parameters = Mapping[str, torch.nn.Parameter]
Gradients = Mapping[str, torch.Tensor | None]

NO_GRADIENT_IMPORTANCE = 1e-6


class Consolidation(Protocol):
    """Pulls the weights towards their values at the time it was made. By default it observes and keeps nothing."""

    def observe(self, gradients: Gradients) -> None:
        """Take the gradients of the replay losses only, one entry for each trainable parameter.

        They may be multiplied by a power of two (the loss scale of float16).
        """
        return

    def pull(self, parameters: Parameters) -> torch.Tensor:
        """Add the penalty's gradient to each parameter's `.grad`; return the penalty, already weighted."""

    def state(self) -> list[torch.Tensor]:
        """Return the tensors that change from one iteration to the next, always in one order.

        A snapshot of the training stores them, and a resumed run copies the stored values into them.
        """
        return []


class NoConsolidation(Consolidation):
    """No penalty: the weights move freely."""

    def __init__(self, parameters: Parameters) -> None:
        pass

    def pull(self, parameters: Parameters) -> torch.Tensor:
        return next(iter(parameters.values())).new_zeros(())


class QuadraticPenalty(Consolidation):
    """The penalty with `importance` as F, set by a subclass; None: 1 for every weight. It keeps the start weights."""

    importance: list[torch.Tensor] | None = None

    def __init__(self, parameters: Parameters, *, weight: float) -> None:
        self._start = [value.detach().clone() for value in parameters.values()]
        self._weight = weight

    @torch.no_grad()
    def pull(self, parameters: Parameters) -> torch.Tensor:
        """Add 2 * weight * F * (theta - theta_start) to `.grad`; return weight * sum F * (theta - theta_start)^2.

        A parameter without `.grad` gets one.
        """
        values: list[torch.Tensor] = list(parameters.values())
        products = []
        for part in groups(values):
            moved = list(torch._foreach_sub(values[part], self._start[part]))
            weighted = moved
            if self.importance is not None:
                weighted = list(torch._foreach_mul(self.importance[part], moved))
            for value in values[part]:
                if value.grad is None:
                    value.grad = torch.zeros_like(value)
            gradients = [value.grad for value in values[part] if value.grad is not None]
            torch._foreach_add_(gradients, weighted, alpha=2.0 * self._weight)
            products += [torch.dot(a.reshape(-1), b.reshape(-1)) for a, b in zip(weighted, moved, strict=True)]
        return self._weight * torch.stack(products).sum()


class Uniform(QuadraticPenalty):
    """F = 1 for every weight: plain L2 towards the start weights."""


class StaticFisher(QuadraticPenalty):
    """F is the teacher's Fisher information, fixed before the task (EWC, Kirkpatrick et al. 2017, equation 3).

    `fisher` holds a diagonal >= 0 for each trainable parameter by name. With `scale` "tensor" each diagonal is divided
    by its own mean, with "model" all are divided by the mean over all weights, which keeps the proportions between
    layers. ContractError if names or shapes are not those of the model.
    """

    def __init__(
        self, parameters: Parameters, *, fisher: Mapping[str, torch.Tensor], weight: float, scale: str
    ) -> None:
        wrong = [name for name, value in parameters.items() if name not in fisher or fisher[name].shape != value.shape]
        if wrong:
            raise ContractError(
                f"fisher.safetensors: {len(wrong)} parameters have no diagonal of their shape, the first is "
                f"{wrong[0]}. Run the stage teach again for this step."
            )
        super().__init__(parameters, weight=weight)
        diagonals = [fisher[name].to(value.device, value.dtype, copy=True) for name, value in parameters.items()]
        self.importance = SCALES[scale](diagonals)


class AdaptiveFisher(QuadraticPenalty):
    """F is measured again in every iteration (GIFT's adaptive weight consolidation, section 3.3).

    F of a tensor is g^2 / mean(g^2), where g is the gradient of the replay losses in this iteration, or 1e-6 where a
    tensor has no gradient. The frozen temperature never moves, so its part of the penalty (1e-6 * 0) is left out.
    """

    def observe(self, gradients: Gradients) -> None:
        """Compute F from the gradients of the replay losses, before those of the task loss are added."""
        self.importance = None  # free the last F first: it is as large as the model
        self.importance = normalized_squares(or_zero(gradients, self._start))


class FrozenFisher(QuadraticPenalty):
    """F is the running mean of the adaptive importance over the first `iterations` iterations, then constant.

    Until then, iteration k uses the mean over the iterations 0 to k. An importance that is not finite (an overflow
    under float16, whose iteration is skipped) does not count.
    """

    importance: list[torch.Tensor]

    def __init__(self, parameters: Parameters, *, weight: float, iterations: int) -> None:
        super().__init__(parameters, weight=weight)
        self._iterations = iterations
        self._observed = torch.zeros((), dtype=torch.int64)
        self.importance = [torch.zeros_like(start) for start in self._start]

    def observe(self, gradients: Gradients) -> None:
        """Add this iteration's importance to the mean, until the mean is frozen."""
        if self._observed == self._iterations:
            return
        newest = normalized_squares(or_zero(gradients, self._start))
        if all_finite(newest):
            self._observed += 1
            torch._foreach_lerp_(self.importance, newest, 1 / int(self._observed))

    def state(self) -> list[torch.Tensor]:
        """The number of observed iterations and their mean importance."""
        return [self._observed, *self.importance]


# By their `kind` in params.yaml (methods.*.consolidation); their options are in gift_core.config.method_options.
CONSOLIDATIONS: Mapping[str, Callable[..., Consolidation]] = {
    "none": NoConsolidation,
    "uniform": Uniform,
    "static_fisher": StaticFisher,
    "frozen_fisher": FrozenFisher,
    "adaptive_fisher": AdaptiveFisher,
}


def or_zero(gradients: Gradients, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the gradients, with zeros for parameters without one."""
    pairs = zip(gradients.values(), like, strict=True)
    return [torch.zeros_like(value) if gradient is None else gradient for gradient, value in pairs]


@torch.no_grad()
def normalized_squares(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Returns g^2 / mean(g^2) for each tensor, which has mean 1; 1e-6 everywhere where g is all zero.

    # differs: a gradient that is exactly zero counts as no gradient (it would be 0 / 0).
    """
    return divided_by_means(torch._foreach_mul(list(gradients), list(gradients)))


@torch.no_grad()
def divided_by_means(squares: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Divides each tensor by its own mean, in place; 1e-6 everywhere in a tensor that is all zero. Returns them."""
    means = torch.stack([square.mean() for square in squares])
    absent = means == 0
    torch._foreach_div_(list(squares), list(torch.where(absent, 1.0, means).unbind()))
    torch._foreach_add_(list(squares), list((absent * NO_GRADIENT_IMPORTANCE).unbind()))
    return list(squares)


def divided_by_one_mean(diagonals: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the tensors divided by the mean over all their elements; 1e-6 everywhere where all are zero."""
    mean = torch.stack([diagonal.sum() for diagonal in diagonals]).sum() / sum(d.numel() for d in diagonals)
    if mean == 0:
        return [torch.full_like(diagonal, NO_GRADIENT_IMPORTANCE) for diagonal in diagonals]
    return list(torch._foreach_div(list(diagonals), mean))


# By the value of consolidation.scale in params.yaml.
SCALES = {"tensor": divided_by_means, "model": divided_by_one_mean}


def all_finite(tensors: Sequence[torch.Tensor]) -> bool:
    """Returns whether no element is infinite or NaN."""
    return bool(torch.stack(list(torch._foreach_norm(list(tensors), torch.inf))).isfinite().all())
