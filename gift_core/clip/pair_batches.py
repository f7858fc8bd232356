"""Seeded batches of images with captions, as random resized crops.

B images, C channels, S side of the model's images, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from gift_core.artifacts.task import CLASSES, PAIRS, StoredImage
from gift_core.clip.batches import TrainingBatch, TrainingImages
from gift_core.clip.device import to_device
from gift_core.clip.encoding import cut_texts, tokenize
from gift_core.clip.model import Clip
from gift_core.seeds import seed_for


@dataclass(frozen=True)
class PairBatch:
    """Normalized images [B, 3, S, S] as in TaskBatch, the token rows [B, L] of a caption of each, and the targets.

    Row i of `targets_BB` spreads the mass 1 over the captions that are right for image i: those of the same image, and
    the same caption. For a caption it spreads it over the images.
    """

    images_BCHW: torch.Tensor
    tokens_BL: torch.Tensor
    targets_BB: torch.Tensor
    kind: ClassVar[str] = PAIRS

    @property
    def targets(self) -> dict[str, torch.Tensor]:
        """The share of each pair."""
        return {"targets_BB": self.targets_BB}

    def texts(self, class_tokens_KL: torch.Tensor) -> torch.Tensor:
        """The token rows of the captions: pairs have no classes."""
        return self.tokens_BL

    def among(self, classes: slice) -> PairBatch:
        """The same batch."""
        return self


class TrainingPairs(TrainingImages):
    """Batches of images with captions. Of the captions of an image, each batch has one, sampled by seed."""

    def __init__(self, clip: Clip, images: Sequence[StoredImage], **options: Any) -> None:
        super().__init__(clip, images, **options)
        self._captions = [image.captions for image in images]

    @property
    def summary(self) -> str:
        """What the batches are of, and how many captions the context of the model cuts."""
        captions = [caption for captions in self._captions for caption in captions]
        cut = cut_texts(self._clip, captions)
        note = f" ({cut:,} longer than the model's context, and cut)" if cut else ""
        return f"{len(self._captions):,} images with {len(captions):,} captions{note}"

    def sample(self, iteration: int) -> TrainingBatch:
        """The batch of `iteration`, with random generators of its own."""
        chosen = self._indices.sample(iteration)
        generator = np.random.default_rng(seed_for(*self._names, "caption", iteration))
        counts_B = [len(self._captions[image]) for image in chosen]
        numbers_B = generator.integers(counts_B)
        captions = [self._captions[image][number] for image, number in zip(chosen, numbers_B, strict=True)]
        first = {caption: row for row, caption in reversed(list(enumerate(captions)))}
        texts_B = np.array([first[caption] for caption in captions])
        same_BB = (chosen[:, None] == chosen[None, :]) | (texts_B[:, None] == texts_B[None, :])
        targets_BB = torch.from_numpy(same_BB / same_BB.sum(axis=1, keepdims=True)).float()
        tokens_BL = tokenize(self._clip, captions)
        return PairBatch(self.crops(chosen, iteration), tokens_BL, to_device(targets_BB, self._clip.device))


# By the kind of task.
TRAINING_BATCHES: Mapping[str, Callable[..., TrainingImages]] = {CLASSES: TrainingImages, PAIRS: TrainingPairs}
