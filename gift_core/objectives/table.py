"""The replay terms by the name they have in params.yaml: a row is a term's options and how they become the term.

Rows import their term's file when it is built, so that reading params.yaml needs no torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from gift_core.section import Positive, Section, Share

if TYPE_CHECKING:
    from gift_core.objectives.encodings import Term


class TermOptions(Section):
    """What every term has; `pairs_only` where it makes no sense for images and texts that are no pairs."""

    pairs_only: ClassVar[bool] = False
    weight: Positive

    @abstractmethod
    def build(self) -> Term:
        """The term, unweighted: the loop multiplies by `weight`."""


class Distill(TermOptions):
    """Contrastive distillation, both towers."""

    temperature: Positive

    def build(self) -> Term:
        """ContrastiveDistillation."""
        from gift_core.losses import distill

        return distill(self.temperature)


class DistillReverseKl(TermOptions):
    """KL(student || teacher) in its place."""

    temperature: Positive

    def build(self) -> Term:
        """ReverseKlDistillation."""
        from gift_core.losses import distill_reverse_kl

        return distill_reverse_kl(self.temperature)


class DistillFeatures(TermOptions):
    """The squared error of the features in its place."""

    def build(self) -> Term:
        """FeatureDistillation."""
        from gift_core.losses import distill_features

        return distill_features()


class DistillImageSide(TermOptions):
    """Distillation of the image tower alone."""

    temperature: Positive

    def build(self) -> Term:
        """ImageSideDistillation."""
        from gift_core.losses import distill_image_side

        return distill_image_side(self.temperature)


class DistillTextSide(TermOptions):
    """Distillation of the text tower alone."""

    temperature: Positive

    def build(self) -> Term:
        """TextSideDistillation."""
        from gift_core.losses import distill_text_side

        return distill_text_side(self.temperature)


class Align(TermOptions):
    """Image-text alignment against hard targets."""

    pairs_only: ClassVar[bool] = True
    label_smoothing: Share

    def build(self) -> Term:
        """ImageTextAlignment."""
        from gift_core.losses import align

        return align(self.label_smoothing)


TERMS: Mapping[str, type[TermOptions]] = {
    "distill": Distill,
    "distill_reverse_kl": DistillReverseKl,
    "distill_features": DistillFeatures,
    "distill_image_side": DistillImageSide,
    "distill_text_side": DistillTextSide,
    "align": Align,
}
