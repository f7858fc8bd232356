"""The anchors by the name they have in params.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from gift_core.anchors.adaptive_fisher import AdaptiveFisherAnchor
from gift_core.anchors.none import NoAnchor
from gift_core.anchors.uniform import UniformAnchor

Parameters = Mapping[str, torch.nn.Parameter]


class Anchor(Protocol):
    """Pulls the weights back to where they stood when it was made."""

    def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """See the gradients of the replay terms alone, one entry for each trainable parameter."""

    def pull(self, parameters: Parameters) -> torch.Tensor:
        """Add the penalty's gradient to each parameter's `.grad`; return the penalty, already weighted."""
        ...


# From the trainable parameters at the start of a task, and the anchor's options, to the anchor.
ANCHORS: Mapping[str, Callable[..., Anchor]] = {
    "none": NoAnchor,
    "uniform": UniformAnchor,
    "adaptive_fisher": AdaptiveFisherAnchor,
}
