"""The replay losses by the name that they have in params.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gift_core.objectives.align import ImageTextAlignment
from gift_core.objectives.distill import ContrastiveDistillation
from gift_core.objectives.encodings import Term
from gift_core.objectives.feature_mse import FeatureDistillation
from gift_core.objectives.one_side import ImageSideDistillation, TextSideDistillation
from gift_core.objectives.reverse_kl import ReverseKlDistillation

TERMS: Mapping[str, Callable[..., Term]] = {
    "distill": ContrastiveDistillation,
    "distill_reverse_kl": ReverseKlDistillation,
    "distill_features": FeatureDistillation,
    "distill_image_side": ImageSideDistillation,
    "distill_text_side": TextSideDistillation,
    "align": ImageTextAlignment,
}
