"""The anchors by the name they have in params.yaml: a row is an anchor's options and how it is made for a task.

Rows import their anchor's file when it is made, so that reading params.yaml needs no torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from gift_core.section import Count, Positive, Section

if TYPE_CHECKING:
    import torch

    Parameters = Mapping[str, torch.nn.Parameter]
    Tensors = Mapping[str, torch.Tensor]


class Anchor(Protocol):
    """Pulls the weights back to where they stood when it was made."""

    def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """See the gradients of the replay terms alone, one entry for each trainable parameter."""

    def pull(self, parameters: Parameters) -> torch.Tensor:
        """Add the penalty's gradient to each parameter's `.grad`; return the penalty, already weighted."""
        ...


class AnchorOptions(Section):
    """What every anchor has. `needs_terms`: it is measured on the replay terms; `needs_fisher`: on teach's file."""

    needs_terms: ClassVar[bool] = False
    needs_fisher: ClassVar[bool] = False
    kind: Any

    @abstractmethod
    def build(self, parameters: Parameters, fisher: Tensors) -> Anchor:
        """The anchor at the start of a task; `fisher` holds the teacher's diagonals by name where they are needed."""


class NoPull(AnchorOptions):
    """Nothing pulls the weights back."""

    kind: Literal["none"]

    def build(self, parameters: Parameters, fisher: Tensors) -> Anchor:
        """NoAnchor."""
        from gift_core.consolidation import NoConsolidation

        return NoConsolidation(parameters)


class Uniform(AnchorOptions):
    """Every weight counts the same (plain L2 to the start)."""

    kind: Literal["uniform"]
    weight: Positive

    def build(self, parameters: Parameters, fisher: Tensors) -> Anchor:
        """UniformAnchor."""
        from gift_core.consolidation import Uniform

        return Uniform(parameters, weight=self.weight)


class StaticFisher(AnchorOptions):
    """A weight counts by the teacher's Fisher information, estimated before the task (EWC).

    `scale`: tensor divides each tensor's diagonal by its own mean, as GIFT does in every step; model divides all of
    them by one mean, as EWC does up to its weight.
    """

    needs_fisher: ClassVar[bool] = True
    kind: Literal["static_fisher"]
    weight: Positive
    scale: Literal["tensor", "model"]

    def build(self, parameters: Parameters, fisher: Tensors) -> Anchor:
        """StaticFisherAnchor."""
        from gift_core.consolidation import StaticFisher

        return StaticFisher(parameters, fisher, weight=self.weight, scale=self.scale)


class FrozenFisher(AnchorOptions):
    """A weight counts by the mean of the adaptive importance over the first steps of the task, fixed from then on."""

    needs_terms: ClassVar[bool] = True
    kind: Literal["frozen_fisher"]
    weight: Positive
    steps: Count

    def build(self, parameters: Parameters, fisher: Tensors) -> Anchor:
        """FrozenFisherAnchor."""
        from gift_core.consolidation import FrozenFisher

        return FrozenFisher(parameters, weight=self.weight, steps=self.steps)


class AdaptiveFisher(AnchorOptions):
    """A weight counts by the squared gradient of the replay terms in this very step."""

    needs_terms: ClassVar[bool] = True
    kind: Literal["adaptive_fisher"]
    weight: Positive

    def build(self, parameters: Parameters, fisher: Tensors) -> Anchor:
        """AdaptiveFisherAnchor."""
        from gift_core.consolidation import AdaptiveFisher

        return AdaptiveFisher(parameters, weight=self.weight)


ANCHORS: Mapping[str, type[AnchorOptions]] = {
    "none": NoPull,
    "uniform": Uniform,
    "static_fisher": StaticFisher,
    "frozen_fisher": FrozenFisher,
    "adaptive_fisher": AdaptiveFisher,
}
