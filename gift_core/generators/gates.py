"""Quality gates: a drawn image that does not show its prompt, or repeats another, is turned away. Off in the paper."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from gift_core.generators.rejects import KEPT, Verdict

if TYPE_CHECKING:
    import torch

    from gift_core.config.generator import FiltersConfig
    from gift_core.generators.judge import Judge

REASONS = {"clip_score": "below the CLIP score", "duplicate": "near-duplicates"}


class Gates(Protocol):
    """What every encoded image passes, in the order of the draw."""

    def verdict(self, image: bytes, prompt: str) -> Verdict:
        """Returns whether the image is kept; one that is kept is remembered."""
        ...

    def recall(self, images: Iterable[bytes]) -> None:
        """Remembers images that an interrupted draw had kept."""
        ...


class OpenGates:
    """`gates: null`: every image passes, none is looked at."""

    def verdict(self, image: bytes, prompt: str) -> Verdict:
        """Returns that the image is kept."""
        return KEPT

    def recall(self, images: Iterable[bytes]) -> None:
        """Remembers nothing."""


class QualityGates:
    """The gates of params.yaml, and the features of the task's images that passed them.

    They look at the encoded image, as the student will: so it is the same image when a later run recalls it.
    """

    def __init__(self, config: FiltersConfig, judge: Judge) -> None:
        self.config = config
        self.judge = judge
        self._kept: list[np.ndarray] = []
        self._texts: dict[str, np.ndarray] = {}

    def verdict(self, image: bytes, prompt: str) -> Verdict:
        """Returns whether image and prompt are near enough, and the image far enough from those kept (cosines)."""
        image_D = self._look(image)
        clip_score = float(image_D @ self._read(prompt))
        similarity = max((float(image_D @ kept_D) for kept_D in self._kept), default=-1.0)
        low, high = self.config.min_clip_score, self.config.max_similarity
        if low is not None and clip_score < low:
            return Verdict("clip_score", clip_score, similarity)
        if high is not None and similarity > high:
            return Verdict("duplicate", clip_score, similarity)
        self._kept.append(image_D)
        return Verdict(None, clip_score, similarity)

    def recall(self, images: Iterable[bytes]) -> None:
        """Remembers the features of images that passed in an earlier run."""
        self._kept += [self._look(image) for image in images]

    def _look(self, image: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(image)) as opened:
            return self.judge.image_features(opened)

    def _read(self, prompt: str) -> np.ndarray:
        if prompt not in self._texts:  # prompts are drawn with replacement
            self._texts[prompt] = self.judge.text_features(prompt)
        return self._texts[prompt]


def load_gates(config: FiltersConfig | None, device: torch.device) -> Gates:
    """Returns the gates of params.yaml with their judge on `device`; open ones for null."""
    if config is None:
        return OpenGates()
    from gift_core.generators.judge import load_judge

    return QualityGates(config, load_judge(config.judge, device))
