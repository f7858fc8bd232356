"""Filters for generated images: black, unsafe or ugly ones, ones that do not match their prompt, and near-duplicates.

A CLIP scores the images: any open_clip model with an image and a text encoder. Two other judges are in judges.py.
Rejected images are generated again with their next seed. The paper has no filters except for black images.
D is the embedding size of the scorer.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gift_core.artifacts.model_config import shape_fault
from gift_core.artifacts.model_folder import CONFIG
from gift_core.errors import UserError, lookup
from gift_core.untrusted import read_json_file

if TYPE_CHECKING:
    import torch

    from gift_core.config.generator import FiltersConfig, GeneratorConfig, ScorerConfig
    from gift_core.generators.judges import AestheticHead, SafetyChecker

KEY = "generator.filters"
SCORER_KEY = f"params.yaml: {KEY}.scorer"
LOCAL, HUB = "local-dir:", "hf-hub:"
REASONS = {
    "clip_score": "below the CLIP score",
    "duplicate": "near-duplicates",
    "aesthetic": "below the aesthetic score",
    "unsafe": "unsafe",
}


@dataclass(frozen=True)
class Scorer:
    """A CLIP in evaluation mode and float32 that encodes one image or text at a time.

    So the features of an image do not depend on a batch, to the last bit, and a resumed run makes the same decisions
    as an uninterrupted one.
    """

    model: Any
    transform: Any
    tokenizer: Any
    device: torch.device

    def image_features(self, image: Image.Image) -> np.ndarray:
        """Returns the features of an image: D, unit norm, float32."""
        import torch

        with torch.inference_mode():
            image_1CHW = self.transform(image.convert("RGB")).unsqueeze(0).to(self.device)
            return self._vector(self.model.encode_image(image_1CHW, normalize=True))

    @property
    def size(self) -> int:
        """Returns D."""
        return len(self.text_features(""))

    def text_features(self, text: str) -> np.ndarray:
        """Returns the features of a text: D, unit norm, float32."""
        import torch

        with torch.inference_mode():
            return self._vector(self.model.encode_text(self.tokenizer([text]).to(self.device), normalize=True))

    @staticmethod
    def _vector(feature_1D: torch.Tensor) -> np.ndarray:
        vector: np.ndarray = feature_1D[0].float().cpu().numpy()
        return vector


def load_scorer(config: ScorerConfig, device: torch.device) -> Scorer:
    """Returns the CLIP of `config`: an architecture with a tag or a file, hf-hub:<repository> or local-dir:<folder>.

    Raises UserError for an unknown name or tag, and for weights that open_clip cannot load.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    name = config.name
    options = {} if name.startswith((LOCAL, HUB)) else _weights(name, config.pretrained)
    _require_folder(name)
    try:
        if name.startswith(HUB):
            _require_safe(open_clip.get_model_config(name), name)
        model = open_clip.create_model(
            name, device=device, precision="fp32", weights_only=True, require_pretrained=True, **options
        )
        tokenizer = open_clip.get_tokenizer(name)
    except UserError:
        raise
    except Exception as error:  # open_clip, the hub and torch raise many kinds of errors
        reason = " ".join(str(error).split()[:60])
        raise UserError(f"{SCORER_KEY}: open_clip cannot load {name} ({reason}). Check name and pretrained.") from error
    crop = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
    return Scorer(model.eval(), image_transform_v2(crop, is_train=False), tokenizer, device)


def _weights(architecture: str, pretrained: str | None) -> dict[str, Any]:
    import open_clip

    lookup({known: known for known in open_clip.list_models()}, architecture.replace("/", "-"), f"{SCORER_KEY}.name")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is None:
        known = ", ".join(tags) or "none"
        raise UserError(
            f"{SCORER_KEY}.pretrained: {architecture} needs weights. Write a file or one of these tags: {known}."
        )
    if Path(pretrained).is_file():
        return {"pretrained": pretrained}
    lookup({tag: tag for tag in tags}, pretrained, f"{SCORER_KEY}.pretrained (no such file; tags of {architecture})")
    quick = bool(open_clip.get_pretrained_cfg(architecture, pretrained).get("quick_gelu", False))
    return {"pretrained": pretrained, "force_quick_gelu": quick}


def _require_folder(name: str) -> None:
    config = Path(name.removeprefix(LOCAL)) / CONFIG
    if not name.startswith(LOCAL):
        return
    if not config.is_file():
        raise UserError(f"{SCORER_KEY}.name: {config.parent} has no {CONFIG}. Use an open_clip model folder.")
    try:
        found = read_json_file(config)
    except ValueError as error:
        raise UserError(
            f"{SCORER_KEY}.name: {config}: it should be JSON, but {error}. Fetch the folder again."
        ) from error
    _require_safe(found.get("model_cfg") if isinstance(found, dict) else found, str(config))


def _require_safe(model_config: Any, location: str) -> None:
    if fault := shape_fault(model_config):
        raise UserError(f"{SCORER_KEY}.name: {location}: not a model configuration: {fault}. Use another model.")


@dataclass(frozen=True)
class Verdict:
    """Why an image was rejected (None: kept), its cosines to the prompt and the nearest kept image, its score."""

    reason: str | None
    clip_score: float = 0.0
    similarity: float = 0.0
    aesthetic: float = 0.0


KEPT = Verdict(None)
BLACK = Verdict("black")


class NoFilters:
    """Keeps every image without looking at it (`null` in params.yaml)."""

    compares_images = False

    def verdict(self, image: bytes, prompt: str) -> Verdict:
        """Returns that the encoded image is kept."""
        return KEPT

    def recall(self, images: Iterable[bytes]) -> None:
        """Remembers nothing."""


class QualityFilters:
    """Applies the thresholds of params.yaml, and remembers the features of the images kept for the task.

    It decides about the images in the order of generation: with `compares_images`, a decision depends on those before.
    The features are those of the encoded image, as it is stored, so they are the same when a later run recalls it.
    """

    def __init__(
        self,
        config: FiltersConfig,
        scorer: Scorer | None,
        head: AestheticHead | None = None,
        checker: SafetyChecker | None = None,
    ) -> None:
        self.config = config
        self.scorer = scorer
        self.head, self.checker = head, checker
        self.compares_images = config.max_similarity is not None
        self._kept: list[np.ndarray] = []
        self._texts: dict[str, np.ndarray] = {}

    def verdict(self, image: bytes, prompt: str) -> Verdict:
        """Returns whether the image is safe, pleasing, and similar enough to its prompt, and unlike all kept images."""
        if self.checker is not None and self.checker.is_unsafe(_opened(image)):
            return Verdict("unsafe")
        return KEPT if self.scorer is None else self._scored(image, prompt)

    def _scored(self, image: bytes, prompt: str) -> Verdict:
        image_D = self._image_features(image)
        if self.head is not None and self.config.aesthetic is not None:
            aesthetic = self.head.score(image_D)
            if aesthetic < self.config.aesthetic.min_score:
                return Verdict("aesthetic", aesthetic=aesthetic)
        clip_score = float(image_D @ self._text_features(prompt))
        similarity = max((float(image_D @ kept_D) for kept_D in self._kept), default=-1.0)
        low, high = self.config.min_clip_score, self.config.max_similarity
        if low is not None and clip_score < low:
            return Verdict("clip_score", clip_score, similarity)
        if high is not None and similarity > high:
            return Verdict("duplicate", clip_score, similarity)
        if self.compares_images:
            self._kept.append(image_D)
        return Verdict(None, clip_score, similarity)

    def recall(self, images: Iterable[bytes]) -> None:
        """Remembers the features of images that were kept in an earlier run."""
        if self.compares_images:
            self._kept += [self._image_features(image) for image in images]

    def _image_features(self, image: bytes) -> np.ndarray:
        assert self.scorer is not None, "check requires a scorer for filters that need one"
        return self.scorer.image_features(_opened(image))

    def _text_features(self, prompt: str) -> np.ndarray:
        if prompt not in self._texts:  # prompts are sampled with replacement
            assert self.scorer is not None
            self._texts[prompt] = self.scorer.text_features(prompt)
        return self._texts[prompt]


def _opened(image: bytes) -> Image.Image:
    with Image.open(io.BytesIO(image)) as opened:
        rgb: Image.Image = opened.convert("RGB")
        return rgb


Filters = NoFilters | QualityFilters


def load_filters(config: FiltersConfig | None, device: torch.device) -> Filters:
    """Returns the filters of params.yaml with their models on `device`. None keeps every image."""
    from gift_core.generators.judges import load_head, load_safety_checker

    if config is None:
        return NoFilters()
    scorer = load_scorer(config.scorer, device) if config.scorer else None
    head = load_head(Path(config.aesthetic.head), scorer.size) if config.aesthetic and scorer else None
    checker = load_safety_checker(config.safety_checker, device) if config.safety_checker else None
    return QualityFilters(config, scorer, head, checker)


def counted_reasons(config: FiltersConfig) -> list[str]:
    """Returns the reasons that the manifest counts: that of a judge only where params.yaml names one."""
    named = {"aesthetic": config.aesthetic, "unsafe": config.safety_checker}
    return [reason for reason in REASONS if named.get(reason, reason)]


def is_black(image: Image.Image) -> bool:
    """Returns True if every pixel is 0. The safety checkers of diffusers return such images."""
    return not np.asarray(image).any()


def check_attempts(what: str, verdicts: Sequence[Verdict], config: GeneratorConfig) -> None:
    """Raises UserError if `what` (describes an image) was rejected more often than the settings allow.

    Black images count against config.max_redraws, all others against config.filters.max_redraws.
    """
    black = sum(verdict is BLACK for verdict in verdicts)
    rejected = [verdict for verdict in verdicts if verdict is not BLACK]
    if black > config.max_redraws:
        raise UserError(f"synthesize: {what} gave a black image {black} times. {_why_black(config)}")
    if config.filters is not None and len(rejected) > config.filters.max_redraws:
        raise UserError(f"synthesize: {what} {_why_rejected(rejected, config.filters)}")


def _why_black(config: GeneratorConfig) -> str:
    overflow = (
        " In float16 a VAE may overflow to black (that of SDXL does): use dtype float32 or bfloat16, or a pipeline "
        "with a VAE made for float16."
    )
    return (
        "A safety checker may have blocked it: raise params.yaml: generator.max_redraws, or use a pipeline without one."
        f"{overflow if config.dtype == 'float16' else ''}"
    )


def _why_rejected(rejected: Sequence[Verdict], config: FiltersConfig) -> str:
    parts = []
    scores = [verdict.clip_score for verdict in rejected if verdict.reason == "clip_score"]
    if scores:
        best = f"{len(scores)} for a CLIP score of at most {max(scores):.3f}"
        parts.append(f"{best} (min_clip_score: {config.min_clip_score})")
    similarities = [verdict.similarity for verdict in rejected if verdict.reason == "duplicate"]
    if similarities:
        least = f"{len(similarities)} for a similarity of at least {min(similarities):.3f} to a kept image"
        parts.append(f"{least} (max_similarity: {config.max_similarity})")
    aesthetic = [verdict.aesthetic for verdict in rejected if verdict.reason == "aesthetic"]
    if aesthetic and config.aesthetic:
        best = f"{len(aesthetic)} for an aesthetic score of at most {max(aesthetic):.2f}"
        parts.append(f"{best} (aesthetic.min_score: {config.aesthetic.min_score})")
    if unsafe := sum(verdict.reason == "unsafe" for verdict in rejected):
        parts.append(f"{unsafe} by safety_checker")
    return (
        f"was rejected {len(rejected)} times: {', '.join(parts)}. In params.yaml: {KEY} change that threshold or raise "
        "max_redraws. If only max_redraws changes, finished shards are kept."
    )
