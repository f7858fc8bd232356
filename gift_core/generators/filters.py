"""Filters for generated images: black, unsafe or ugly ones, ones that do not match their prompt, and near-duplicates.

A CLIP scores the images: any open_clip model with an image and a text encoder. Two other filters are an aesthetic score
and a safety checker, both with models that the user names. All see one image at a time, in float32, so that a resumed
run decides as an uninterrupted one.
Rejected images are generated again with their next seed. The paper has no filters except for black images.
D is the embedding size of the scorer.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gift_core.errors import UserError

if TYPE_CHECKING:
    import torch

    from gift_core.config.generator import FiltersConfig, GeneratorConfig, ScorerConfig

KEY = "generator.filters"
REASONS = {
    "clip_score": "low CLIP score",
    "duplicate": "near-duplicate",
    "aesthetic": "low aesthetic score",
    "unsafe": "unsafe",
}
# By reason: what an error says of the best score, and the threshold that it did not reach.
_BEST: Mapping[str, tuple[str, Callable[[list[float]], float], str]] = {
    "clip_score": ("a CLIP score of at most {:.3f}", max, "min_clip_score"),
    "duplicate": ("a similarity of at least {:.3f} to a kept image", min, "max_similarity"),
    "aesthetic": ("an aesthetic score of at most {:.2f}", max, "aesthetic.min_score"),
}
HEAD_KEY = "params.yaml: generator.filters.aesthetic.head"
SAFETY_KEY = "params.yaml: generator.filters.safety_checker"


@dataclass(frozen=True)
class Scorer:
    """A CLIP in evaluation mode and float32 that encodes one image or text at a time, so no batch moves a last bit."""

    model: Any
    transform: Any
    tokenizer: Any
    device: torch.device

    def image_features(self, image: Image.Image) -> np.ndarray:
        """Returns the features of an RGB image: D, unit norm, float32."""
        return self._encode(self.model.encode_image, self.transform(image).unsqueeze(0))

    def text_features(self, text: str) -> np.ndarray:
        """Returns the features of a text: D, unit norm, float32."""
        return self._encode(self.model.encode_text, self.tokenizer([text]))

    def _encode(self, encode: Callable[..., torch.Tensor], one: torch.Tensor) -> np.ndarray:
        import torch

        with torch.inference_mode():
            vector_D: np.ndarray = encode(one.to(self.device), normalize=True)[0].float().cpu().numpy()
        return vector_D


def load_scorer(config: ScorerConfig, device: torch.device) -> Scorer:
    """Returns the CLIP of `config`, any that interop.importing.load_clip loads. UserError as there."""
    from gift_core.clip.images import evaluation_transform
    from gift_core.interop.importing import load_clip

    try:
        clip = load_clip(config.name, config.pretrained, device=device)
    except UserError as error:
        raise UserError(f"params.yaml: {KEY}.scorer: {error}") from error
    return Scorer(clip.model, evaluation_transform(clip), clip.tokenizer, device)


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

    def __init__(
        self,
        config: FiltersConfig,
        scorer: Scorer | None,
        head: Callable[[np.ndarray], float] | None = None,
        checker: Callable[[Image.Image], bool] | None = None,
    ) -> None:
        self.config, self.scorer, self.head, self.checker = config, scorer, head, checker
        self.compares_images = config.max_similarity is not None
        self._kept: list[np.ndarray] = []
        self._text_features = cache(scorer.text_features) if scorer else None  # prompts are sampled with replacement

    def verdict(self, image: bytes, prompt: str) -> Verdict:
        """Returns whether the image is safe, pleasing, and similar enough to its prompt, and unlike all kept images."""
        config, opened = self.config, _opened(image)
        if self.checker is not None and self.checker(opened):
            return Verdict("unsafe")
        if self.scorer is None or self._text_features is None:
            return KEPT
        image_D = self.scorer.image_features(opened)
        if self.head is not None and config.aesthetic is not None:
            score = self.head(image_D)
            if score < config.aesthetic.min_score:
                return Verdict("aesthetic", score)
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
        if self.compares_images and self.scorer is not None:
            self._kept += [self.scorer.image_features(_opened(image)) for image in images]


def _opened(image: bytes) -> Image.Image:
    with Image.open(io.BytesIO(image)) as opened:
        rgb: Image.Image = opened.convert("RGB")
        return rgb


def load_filters(config: FiltersConfig, device: torch.device) -> QualityFilters:
    """Returns the filters of params.yaml with their models on `device`."""
    scorer, aesthetic = load_scorer(config.scorer, device) if config.scorer else None, config.aesthetic
    head = load_head(Path(aesthetic.head), size=len(scorer.text_features(""))) if scorer and aesthetic else None
    checker = load_safety_checker(config.safety_checker, device) if config.safety_checker else None
    return QualityFilters(config, scorer, head, checker)


def counted_reasons(config: FiltersConfig) -> list[str]:
    """Returns the reasons that the manifest counts: one that needs a model only where params.yaml names it."""
    named = {"aesthetic": config.aesthetic, "unsafe": config.safety_checker}
    return [reason for reason in REASONS if named.get(reason, reason)]


def check_attempts(what: str, verdicts: Sequence[Verdict], config: GeneratorConfig) -> None:
    """Raises UserError if `what` (describes an image) was rejected more often than the settings allow.

    Black images count against config.max_redraws, all others against config.filters.max_redraws.
    """
    black, filters = sum(verdict is BLACK for verdict in verdicts), config.filters
    if black > config.max_redraws:
        remedy = "raise params.yaml: generator.max_redraws, or use a pipeline without one."
        if config.dtype == "float16":
            remedy += (
                " In float16 a VAE may overflow to black (that of SDXL does): use dtype float32 or bfloat16, or a "
                "pipeline with a VAE made for float16."
            )
        why = f"A safety checker may have blocked it: {remedy}"
        raise UserError(f"synthesize: {what} gave a black image {black} times. {why}")
    if filters is None or len(verdicts) - black <= filters.max_redraws:
        return
    parts = list[str]()
    for reason, (words, best_of, key) in _BEST.items():
        if scores := [verdict.score for verdict in verdicts if verdict.reason == reason]:
            parts.append(f"{len(scores)} for {words.format(best_of(scores))} ({key}: {attrgetter(key)(filters)})")
    if unsafe := sum(verdict.reason == "unsafe" for verdict in verdicts):
        parts.append(f"{unsafe} by safety_checker")
    raise UserError(
        f"synthesize: {what} was rejected {len(verdicts) - black} times: {', '.join(parts)}. In params.yaml: {KEY} "
        "change that threshold or raise max_redraws. If only max_redraws changes, finished shards are kept."
    )


def load_head(path: Path, size: int) -> Callable[[np.ndarray], float]:
    """Returns the function from features (D, unit norm) to a score that is in a state dict of linear layers.

    The file is .safetensors or of torch.save.

    Layers follow each other without an activation, as in both of LAION's predictors (laion-ai/aesthetic-predictor and
    christophschuhmann/improved-aesthetic-predictor). `size`: D. UserError for a file that is missing, damaged, or no
    head for features of this size.
    """
    import torch
    from safetensors.torch import load_file

    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        order = {name: [int(number) for number in re.findall(r"\d+", name)] for name in state}
        weight, bias = np.eye(size), np.zeros(size)
        for name in sorted((name for name in state if name.endswith("weight")), key=order.__getitem__):
            layer = state[name].double().numpy()
            own = state.get(f"{name.removesuffix('weight')}bias")
            bias = layer @ bias + (0.0 if own is None else own.double().numpy())
            weight = layer @ weight
        if weight.shape[0] != 1:
            raise ValueError("its last layer should give one number")
    except Exception as error:  # torch, safetensors and numpy raise many kinds of errors
        what = f"it has no linear layers from {size} numbers to a score ({' '.join(str(error).split()[:30])})"
        raise UserError(f"{HEAD_KEY}: {path}: {what}. Use a head for the features of filters.scorer.") from error
    weight_D, offset = weight[0].astype(np.float32), float(bias[0])
    return lambda image_D: float(image_D @ weight_D + offset)


def load_safety_checker(name: str, device: torch.device) -> Callable[[Image.Image], bool]:
    """Returns the check whether a model finds its concepts in an image: that of Stable Diffusion 1, or one like it.

    `name`: of a folder or of the hub. UserError where diffusers cannot load it.
    """
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    # It warns of each image that it blocks; the manifest counts them.
    logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker").setLevel(logging.ERROR)
    try:
        model = StableDiffusionSafetyChecker.from_pretrained(name)
        processor = CLIPImageProcessor.from_pretrained(name)
    except Exception as error:  # diffusers, the hub and torch raise many kinds of errors
        reason = " ".join(str(error).split()[:60])
        raise UserError(f"{SAFETY_KEY}: diffusers cannot load {name} ({reason}). Check the name.") from error
    model = model.eval().to(device)

    def is_unsafe(image: Image.Image) -> bool:
        pixels = processor(images=[image], return_tensors="pt").pixel_values
        with torch.inference_mode():
            _, flags = model(clip_input=pixels.to(device), images=[np.zeros((1, 1, 3))])
        return bool(flags[0])

    return is_unsafe
