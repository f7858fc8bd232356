"""Seeded batches of training images with captions.

B images, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gift_core.artifacts.task import PAIRS, StoredImage
from gift_core.clip.batches import TrainingBatch, TrainingImages
from gift_core.clip.encoding import cut_texts, trim_rows
from gift_core.clip.model import Clip
from gift_core.clip.same_tokens import tokenizer_of
from gift_core.seeds import seed_for
from gift_core.torch_devices import to_device


class TrainingPairs(TrainingImages):
    """Batches of images with captions. Of the captions of an image, each batch has one, sampled by seed."""

    def __init__(self, clip: Clip, images: Sequence[StoredImage], **options: Any) -> None:
        super().__init__(clip, images, **options)
        self._captions = [image.captions for image in images]

    @property
    def summary(self) -> str:
        """What the batches are of, how many captions the context of the model cuts, and how many are another's text."""
        captions = [caption for captions in self._captions for caption in captions]
        cut = cut_texts(self._clip, captions)
        same = tokenizer_of(self._clip.tokenizer).count_repeated(captions)
        notes = []
        if cut:
            notes.append(f"{cut:,} longer than the model's context, and cut")
        if same:
            notes.append(f"{same:,} with the tokens of another one, so they are one text to the model")
        note = f" ({'; '.join(notes)})" if notes else ""
        return f"{len(self._captions):,} images with {len(captions):,} captions{note}"

    def sample(self, iteration: int) -> TrainingBatch:
        chosen = self._indices.sample(iteration)
        generator = np.random.default_rng(seed_for(*self._names, "caption", iteration))
        counts_B = [len(self._captions[image]) for image in chosen]
        numbers_B = generator.integers(counts_B)
        captions = [self._captions[image][number] for image, number in zip(chosen, numbers_B, strict=True)]
        tokens_BL = self._clip.tokenizer(captions)
        texts_B = torch.unique(tokens_BL, dim=0, return_inverse=True)[1].numpy()
        same_BB = (chosen[:, None] == chosen[None, :]) | (texts_B[:, None] == texts_B[None, :])
        targets_BB = torch.from_numpy(same_BB / same_BB.sum(axis=1, keepdims=True)).float()
        tokens_BL = trim_rows(self._clip.model, tokens_BL).to(self._clip.device)
        targets = {"targets_BB": to_device(targets_BB, self._clip.device)}
        return TrainingBatch(self.crops(chosen, iteration), targets, PAIRS, tokens_BL=tokens_BL)
