"""Plain L2: every weight is pulled to its start with the same strength."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gift_core.anchors.penalty import add_gradients, copy_of, distances, dot_products, groups


class UniformAnchor:
    """Penalty = weight * sum (theta - theta_start)^2."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], *, weight: float) -> None:
        self._start, self._weight = copy_of(parameters), weight

    def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """Learn nothing: the strength does not depend on the replayed pairs."""

    def pull(self, parameters: Mapping[str, torch.nn.Parameter]) -> torch.Tensor:
        """Add the penalty's gradient 2 * weight * (theta - theta_start) to `.grad`; return the penalty."""
        values = list(parameters.values())
        products = []
        for part in groups(values):
            moved = distances(values[part], self._start[part])
            add_gradients(values[part], moved, factor=2.0 * self._weight)
            products += dot_products(moved, moved)
        return self._weight * torch.stack(products).sum()
