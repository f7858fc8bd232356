"""Filters for generated images: black ones, ones that do not match their prompt, and near-duplicates.

A CLIP scores the images: any open_clip model with an image and a text encoder. It sees one image at a time, in float32,
so that a resumed run decides as an uninterrupted one.
Rejected images are generated again with their next seed. The paper has no filters except for black images.
D is the embedding size of the scorer.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gift_core.errors import UserError

if TYPE_CHECKING:
    import torch

    from gift_core.clip.model import Clip
    from gift_core.config.experiment import FiltersConfig, GeneratorConfig

KEY = "generator.filters"
REASONS = {"clip_score": "low CLIP score", "duplicate": "near-duplicate"}


@dataclass(frozen=True)
class Scorer:
    """A CLIP in evaluation mode and float32 that encodes one image or text at a time, so no batch moves a last bit."""

    clip: Clip

    def image_features(self, image: Image.Image) -> np.ndarray:
        """Returns the features of an RGB image: D, unit norm, float32."""
        from gift_core.clip.images import evaluation_transform

        return self._encode(self.clip.model.encode_image, evaluation_transform(self.clip)(image)[None])

    def text_features(self, text: str) -> np.ndarray:
        """Returns the features of a text: D, unit norm, float32."""
        return self._encode(self.clip.model.encode_text, self.clip.tokenizer([text]))

    def _encode(self, encode: Any, one: torch.Tensor) -> np.ndarray:
        import torch

        with torch.inference_mode():
            vector_D: np.ndarray = encode(one.to(self.clip.device), normalize=True)[0].float().cpu().numpy()
        return vector_D


@dataclass(frozen=True)
class Verdict:
    """Why an image was rejected (None: kept), and the score that decided."""

    reason: str | None
    score: float = 0.0


KEPT = Verdict(None)
BLACK = Verdict("black")


class QualityFilters:
    """Applies the thresholds of params.yaml, and remembers the features of the images kept for the task.

    It decides about the images in the order of generation: with `compares_images`, a decision depends on those before.
    The features are those of the encoded image, as it is stored, so they are the same when a later run recalls it.
    """

    def __init__(self, config: FiltersConfig, scorer: Scorer) -> None:
        self.config, self.scorer = config, scorer
        self.compares_images = config.max_similarity is not None
        self._kept: list[np.ndarray] = []
        self._text_features = cache(scorer.text_features)  # prompts are sampled with replacement

    def verdict(self, image: bytes, prompt: str) -> Verdict:
        """Returns whether the image is similar enough to its prompt, and unlike all kept images."""
        config, image_D = self.config, self._features(image)
        if config.min_clip_score is not None:
            score = float(image_D @ self._text_features(prompt))
            if score < config.min_clip_score:
                return Verdict("clip_score", score)
        if config.max_similarity is not None:
            score = max((float(image_D @ kept_D) for kept_D in self._kept), default=-1.0)
            if score > config.max_similarity:
                return Verdict("duplicate", score)
            self._kept.append(image_D)
        return KEPT

    def recall(self, images: Iterable[bytes]) -> None:
        """Remembers the features of images that were kept in an earlier run."""
        if self.compares_images:
            self._kept += map(self._features, images)

    def _features(self, image: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(image)) as opened:
            return self.scorer.image_features(opened.convert("RGB"))


def load_filters(config: FiltersConfig, device: torch.device) -> QualityFilters:
    """Returns the filters of params.yaml with their model on `device`. UserError as interop.importing.load_clip."""
    from gift_core.interop.importing import load_clip

    try:
        clip = load_clip(config.scorer.name, config.scorer.pretrained, device=device)
    except UserError as error:
        raise UserError(f"params.yaml: {KEY}.scorer: {error}") from error
    return QualityFilters(config, Scorer(clip))


def check_attempts(image: str, verdicts: Sequence[Verdict], config: GeneratorConfig) -> None:
    """Raises UserError if an image, here described, was rejected more often than the settings allow.

    Black images count against config.max_redraws, all others against config.filters.max_redraws.
    """
    black, filters = sum(verdict is BLACK for verdict in verdicts), config.filters
    if black > config.max_redraws:
        remedy = "raise params.yaml: generator.max_redraws, or use a pipeline without one."
        if config.dtype == "float16":
            remedy += " In float16 a VAE may overflow to black (that of SDXL does): use dtype float32 or bfloat16."
        why = f"A safety checker may have blocked it: {remedy}"
        raise UserError(f"synthesize: {image} gave a black image {black} times. {why}")
    if filters is None or len(verdicts) - black <= filters.max_redraws:
        return
    parts = list[str]()
    for reason, key, best_of in (("clip_score", "min_clip_score", max), ("duplicate", "max_similarity", min)):
        scores = [verdict.score for verdict in verdicts if verdict.reason == reason]
        if scores:
            parts.append(f"{len(scores)} by {key}: {getattr(filters, key)} (the closest had {best_of(scores):.3f})")
    raise UserError(
        f"synthesize: {image} was rejected {len(verdicts) - black} times: {', '.join(parts)}. In params.yaml: {KEY} "
        "change that threshold or raise max_redraws. If only max_redraws changes, finished shards are kept."
    )
