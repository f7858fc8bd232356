"""The consolidations by the name that they have in params.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

from gift_core.anchors.adaptive_fisher import AdaptiveFisherAnchor
from gift_core.anchors.frozen_fisher import FrozenFisherAnchor
from gift_core.anchors.none import NoAnchor
from gift_core.anchors.static_fisher import StaticFisherAnchor
from gift_core.anchors.uniform import UniformAnchor

Parameters = Mapping[str, torch.nn.Parameter]
Tensors = Mapping[str, torch.Tensor]


class Anchor(Protocol):
    """Pulls the weights towards those at the start of the task."""

    def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """See the gradients of the replay losses alone, one entry for each trainable parameter."""

    def pull(self, parameters: Parameters) -> torch.Tensor:
        """Add the penalty's gradient to each parameter's `.grad`; return the weighted penalty."""
        ...


def build_anchor(parameters: Parameters, fisher: Tensors, *, kind: str, **options: Any) -> Anchor:
    """Returns the consolidation at the start of a task. `fisher`: the teacher's diagonals by name."""
    if kind == "static_fisher":
        return StaticFisherAnchor(parameters, fisher, **options)
    if kind == "frozen_fisher":
        return FrozenFisherAnchor(parameters, weight=options["weight"], steps=options["iterations"])
    others: Mapping[str, Callable[..., Anchor]]
    others = {"none": NoAnchor, "uniform": UniformAnchor, "adaptive_fisher": AdaptiveFisherAnchor}
    return others[kind](parameters, **options)
