"""A row of params.yaml's methods: a method is data, so its row says all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gift_core.config.sections import Positive, Section, Share


class NoReplayConfig(Section):
    """The task's own images only."""

    images: Literal["none"]


class SyntheticReplayConfig(Section):
    """Synthetic pairs; the teacher is the model before the task."""

    images: Literal["synthetic"]
    teacher: Literal["previous"]


class DistillConfig(Section):
    """Contrastive distillation."""

    weight: Positive
    temperature: Positive


class AlignConfig(Section):
    """Image-text alignment against hard targets."""

    weight: Positive
    label_smoothing: Share


class TermsConfig(Section):
    """The loss terms beside the task loss, each present or absent; true where one is present."""

    noun: ClassVar[str] = "term"
    distill: DistillConfig | None = None
    align: AlignConfig | None = None

    def items(self) -> Iterator[tuple[str, DistillConfig | AlignConfig]]:
        """Yields (name, options) of the terms that are present, always in the same order."""
        for name in type(self).model_fields:
            options = getattr(self, name)
            if options is not None:
                yield name, options

    def __len__(self) -> int:
        """The number of terms present."""
        return len(list(self.items()))


class NoAnchorConfig(Section):
    """Nothing pulls the weights back."""

    kind: Literal["none"]


class UniformAnchorConfig(Section):
    """Every weight counts the same (plain L2 to the start)."""

    kind: Literal["uniform"]
    weight: Positive


class AdaptiveFisherAnchorConfig(Section):
    """A weight counts by the squared gradient of the replay terms in this very step."""

    kind: Literal["adaptive_fisher"]
    weight: Positive


ReplayConfig = Annotated[NoReplayConfig | SyntheticReplayConfig, Field(discriminator="images")]
AnchorConfig = Annotated[NoAnchorConfig | UniformAnchorConfig | AdaptiveFisherAnchorConfig, Field(discriminator="kind")]


class MethodConfig(Section):
    """One method: what it replays, which terms it adds, what it is anchored by, its learning rate."""

    learning_rate: Positive
    replay: ReplayConfig
    terms: TermsConfig
    anchor: AnchorConfig
