"""Elastic weight consolidation: importances fixed before the task, from a file that the stage teach wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from gift_core.anchors.adaptive_fisher import NO_GRADIENT_IMPORTANCE, divided_by_means
from gift_core.anchors.penalty import copy_of, weighted_pull
from gift_core.errors import ContractError


class StaticFisherAnchor:
    """Penalty = weight * sum F (theta - theta_start)^2 with constant F >= 0 (Kirkpatrick et al. 2017, equation 3).

    `fisher` holds a diagonal for each trainable parameter, by name. `scale` tensor divides each by its own mean; model
    divides all by the one mean over all weights, which keeps the proportions between layers. ContractError where names
    or shapes are not the model's.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        fisher: Mapping[str, torch.Tensor],
        *,
        weight: float,
        scale: Literal["tensor", "model"],
    ) -> None:
        _require_same(parameters, fisher)
        self._start, self._weight = copy_of(parameters), weight
        diagonals = [fisher[name].to(value.device, value.dtype) for name, value in parameters.items()]
        self._importance = SCALES[scale](diagonals)

    def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """Learn nothing: the importance was fixed before the task."""

    def pull(self, parameters: Mapping[str, torch.nn.Parameter]) -> torch.Tensor:
        """Add the penalty's gradient 2 * weight * F * (theta - theta_start) to `.grad`; return the penalty."""
        return weighted_pull(parameters, self._start, self._importance, weight=self._weight)


def divided_by_one_mean(diagonals: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The diagonals over their mean over all weights; 1e-6 everywhere where all are zero."""
    mean = torch.stack([diagonal.sum() for diagonal in diagonals]).sum() / sum(d.numel() for d in diagonals)
    if mean == 0:
        return [torch.full_like(diagonal, NO_GRADIENT_IMPORTANCE) for diagonal in diagonals]
    return list(torch._foreach_div(list(diagonals), mean))


SCALES = {"tensor": divided_by_means, "model": divided_by_one_mean}


def _require_same(parameters: Mapping[str, torch.Tensor], fisher: Mapping[str, torch.Tensor]) -> None:
    wrong = [name for name, value in parameters.items() if name not in fisher or fisher[name].shape != value.shape]
    if wrong:
        raise ContractError(
            f"fisher.safetensors: {len(wrong)} parameters have no diagonal of their shape, first {wrong[0]}. "
            "Run stage teach again for this step."
        )
