"""Seeded batches of images with captions, as random resized crops.

B images, C channels, S side of the model's images, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gift_core.artifacts.task import CLASSES, PAIRS, StoredImage
from gift_core.clip.batches import TrainingBatch, TrainingImages
from gift_core.clip.device import to_device
from gift_core.clip.encoding import cut_texts, tokenize
from gift_core.clip.model import Clip
from gift_core.seeds import seed_for


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
        targets = {"targets_BB": to_device(targets_BB, self._clip.device)}
        return TrainingBatch(self.crops(chosen, iteration), targets, PAIRS, tokens_BL=tokens_BL)


# By the kind of task.
TRAINING_BATCHES: Mapping[str, Callable[..., TrainingImages]] = {CLASSES: TrainingImages, PAIRS: TrainingPairs}
