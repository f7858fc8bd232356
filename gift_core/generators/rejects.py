"""Which drawn images cannot serve as replay, and when drawing them again ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gift_core.errors import UserError

if TYPE_CHECKING:
    from gift_core.config.generator import FiltersConfig, GeneratorConfig


@dataclass(frozen=True)
class Verdict:
    """Why an image was turned away (None: it is kept), its cosine to the prompt, and to the nearest image kept."""

    reason: str | None
    clip_score: float = 0.0
    similarity: float = 0.0


KEPT = Verdict(None)
BLACK = Verdict("black")


def is_black(image: Image.Image) -> bool:
    """True when every pixel is 0: what a diffusers safety checker returns in place of an image it withholds."""
    return not np.asarray(image).any()


def require_another_try(what: str, verdicts: Sequence[Verdict], config: GeneratorConfig) -> None:
    """Raises UserError where `what` (an image, in words) was turned away as often as the settings allow.

    Black images count against config.max_redraws, those that a gate turned away against config.filters.max_redraws.
    """
    black = sum(verdict is BLACK for verdict in verdicts)
    rejected = [verdict for verdict in verdicts if verdict is not BLACK]
    if black > config.max_redraws:
        raise UserError(f"synthesize: {what} gave a black image {black} times. {_why_black(config)}")
    if config.filters is not None and len(rejected) > config.filters.max_redraws:
        raise UserError(f"synthesize: {what} {_why_rejected(rejected, config.filters)}")


def _why_black(config: GeneratorConfig) -> str:
    overflow = (
        " In float16 a VAE may overflow to black (SDXL's does): use dtype float32 or bfloat16, or a pipeline with a "
        "VAE made for it."
    )
    return (
        "A safety checker may withhold it: raise params.yaml: generator.max_redraws, or use a pipeline without one."
        f"{overflow if config.dtype == 'float16' else ''}"
    )


def _why_rejected(rejected: Sequence[Verdict], gates: FiltersConfig) -> str:
    parts = []
    scores = [verdict.clip_score for verdict in rejected if verdict.reason == "clip_score"]
    if scores:
        best = f"{len(scores)} with a CLIP score of {max(scores):.3f} at best"
        parts.append(f"{best} (min_clip_score: {gates.min_clip_score})")
    similarities = [verdict.similarity for verdict in rejected if verdict.reason == "duplicate"]
    if similarities:
        best = f"{len(similarities)} as near to an image kept as {min(similarities):.3f} at best"
        parts.append(f"{best} (max_similarity: {gates.max_similarity})")
    return (
        f"was turned away {len(rejected)} times: {', '.join(parts)}. In params.yaml: generator.filters move that "
        "threshold or raise max_redraws; what is drawn already is kept where only max_redraws changes."
    )
