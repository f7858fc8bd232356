"""Seeded batches of a task's training images or image-caption pairs, and of several tasks together.

Images are random resized crops.

B images, C channels, S side of the model's images, H W sides of a source image, K classes, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from gift_core.artifacts.task import CLASSES, PAIRS, StoredImage
from gift_core.clip.crops import crop_and_resize, sample_boxes
from gift_core.clip.encoding import cut_texts, trim_rows
from gift_core.clip.images import CacheBudget, PixelCache, decode, normalize, pixels_of
from gift_core.clip.model import Clip
from gift_core.clip.same_tokens import tokenizer_of
from gift_core.computation import own_share
from gift_core.seeds import seed_for
from gift_core.torch_devices import to_device

# Shorter side of a cached image, relative to the model's images: 256 for 224, the usual margin between resizing and
# cropping.
CACHED_SIDE = 8 / 7
MOST_SHUFFLED = 100_000_000  # a permutation of them takes seconds, and 800 MB


def placed(own: torch.Tensor, share: slice, count: int) -> torch.Tensor:
    """Returns `count` rows: `own` at `share`, and zeros elsewhere. Where these are all rows, `own` itself."""
    if len(own) == count:
        return own
    rows = own.new_zeros(count, *own.shape[1:])
    rows[share] = own
    return rows


def normalized_share(clip: Clip, cache: PixelCache, chosen_B: torch.Tensor) -> torch.Tensor:
    """Returns normalized images [B, 3, S, S] of a cache on the model's device. Those of other processes are zeros."""
    share = own_share(len(chosen_B))
    pixels_BCHW = to_device(torch.stack(cache.fetch(chosen_B[share].tolist())), clip.device)
    return placed(normalize(clip, pixels_BCHW), share, len(chosen_B))


@dataclass(frozen=True)
class TrainingBatch:
    """Images of a task, the texts that they are compared with, and the targets of the loss. All are on one device.

    Attributes:
        images_BCHW: normalized images [B, 3, S, S]. Those that other processes encode are zeros.
        targets: by the parameter of the loss. labels_B: int64 [B], counted from 0 within `classes`. targets_BB, of
            images with captions: float32 [B, B]; row i spreads the mass 1 over the captions that are right for image i:
            those of the same image, and those with the same tokens. For a caption it spreads it over the images.
        kind: that of the task, which names the loss.
        classes: the range of the class prompts that belongs to the batch's task.
        tokens_BL: the token rows of a caption of each image; None where the texts are the class prompts.
    """

    images_BCHW: torch.Tensor
    targets: Mapping[str, torch.Tensor]
    kind: str = CLASSES
    classes: slice = field(default_factory=lambda: slice(None))
    tokens_BL: torch.Tensor | None = None

    def texts(self, class_tokens_KL: torch.Tensor) -> torch.Tensor:
        """Returns the token rows of the texts, given those of all class prompts."""
        return class_tokens_KL[self.classes] if self.tokens_BL is None else self.tokens_BL


class TaskBatches(Protocol):
    """Batches of the task that is being learned, and the prompts of its classes."""

    @property
    def class_prompts(self) -> Sequence[str]:
        """One prompt per class, in the order of the labels. Of pairs: captions that stand for the task."""

    def sample(self, iteration: int) -> TrainingBatch:
        """The batch of `iteration`. It depends on nothing else."""


@dataclass(frozen=True)
class ShuffledIndices:
    """An endless stream of indices below `count`, `batch_size` at a time. Each epoch is a seeded permutation.

    A batch always has `batch_size` entries, so it may span two epochs. Where `count` is smaller than a batch, or larger
    than MOST_SHUFFLED, batches are sampled with replacement. The permutations of the last batch are kept: to shuffle a
    million indices for each batch would take longer than to sample its images.
    """

    count: int
    batch_size: int
    names: tuple[str | int, ...]
    _epochs: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def sample(self, iteration: int) -> np.ndarray:
        """Indices int64 [batch_size] of `iteration`."""
        if not self.batch_size <= self.count <= MOST_SHUFFLED:
            return self._generator("replacement", iteration).integers(self.count, size=self.batch_size)
        first = iteration * self.batch_size
        epochs = range(first // self.count, (first + self.batch_size - 1) // self.count + 1)
        for epoch in {*epochs} - {*self._epochs}:
            self._epochs[epoch] = self._generator("epoch", epoch).permutation(self.count)
        permutations = [self._epochs[epoch] for epoch in epochs]
        self._epochs.clear()
        self._epochs.update(zip(epochs, permutations, strict=True))
        offset = first - epochs.start * self.count
        stream = permutations[0] if len(permutations) == 1 else np.concatenate(permutations)
        return np.array(stream[offset : offset + self.batch_size])

    def _generator(self, *names: str | int) -> np.random.Generator:
        return np.random.default_rng(seed_for(*self.names, *names))


class TrainingImages:
    """Batches of a task's training images, newly cropped in each batch. Decoded pixels are cached in `cache_budget`.

    # differs: an image whose shorter side exceeds 8/7 of the model's image size is reduced to that, bicubic, before it
    # is cached, so that a large data set fits in memory. The crops are taken from the reduced image.
    """

    def __init__(
        self,
        clip: Clip,
        images: Sequence[StoredImage],
        *,
        class_prompts: Sequence[str],
        batch_size: int,
        crop_scale: tuple[float, float],
        names: tuple[str | int, ...],
        cache_budget: CacheBudget,
    ) -> None:
        self.class_prompts = tuple(class_prompts)
        self._clip = clip
        self._crop_scale = crop_scale
        self._names = names
        self._cache = PixelCache(
            [image.read for image in images], partial(_reduced_pixels, size=clip.image_size), cache_budget
        )
        self._labels_N = torch.tensor([image.label for image in images])
        self._indices = ShuffledIndices(len(images), batch_size, (*names, "shuffle"))

    @property
    def summary(self) -> str:
        """What the batches are of: "20 classes"."""
        return f"{len(self.class_prompts)} classes"

    def sample(self, iteration: int) -> TrainingBatch:
        chosen = self._indices.sample(iteration)
        labels_B = to_device(self._labels_N[torch.from_numpy(chosen)], self._clip.device)
        return TrainingBatch(self.crops(chosen, iteration), {"labels_B": labels_B})

    def crops(self, chosen: np.ndarray, iteration: int) -> torch.Tensor:
        """Normalized crops [B, 3, S, S] of the images with these numbers."""
        share = own_share(len(chosen))
        images = self._cache.fetch(chosen[share])
        sizes_B2 = np.ones((len(chosen), 2), dtype=np.int64)  # a box depends on the size of its own image only
        sizes_B2[share] = [image.shape[1:] for image in images]
        generator = np.random.default_rng(seed_for(*self._names, "crop", iteration))
        boxes = sample_boxes(*sizes_B2.T, scale=self._crop_scale, generator=generator)[share]
        pixels_BCHW = to_device(crop_and_resize(images, boxes, size=self._clip.image_size), self._clip.device)
        return placed(normalize(self._clip, pixels_BCHW), share, len(chosen))


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


class JointImages:
    """Batches of several tasks: each round has one batch of every task, in a seeded order.

    A batch belongs to one task and is classified among that task's classes alone, as if the task were learned by
    itself. Without tasks there are no class prompts and no batches.
    """

    def __init__(self, tasks: Sequence[TrainingImages], names: tuple[str | int, ...]) -> None:
        self.class_prompts = tuple(prompt for task in tasks for prompt in task.class_prompts)
        self._tasks, self._names = tasks, names
        counts = [len(task.class_prompts) for task in tasks]
        self._classes = [slice(sum(counts[:at]), sum(counts[: at + 1])) for at in range(len(counts))]

    @property
    def summary(self) -> str:
        return ", ".join(task.summary for task in self._tasks) or "0 classes"

    def sample(self, iteration: int) -> TrainingBatch:
        """The batch of `iteration`: the next one of the task that comes next in the round."""
        rounds, position = divmod(iteration, len(self._tasks))
        order = np.random.default_rng(seed_for(*self._names, "round", rounds)).permutation(len(self._tasks))
        task = int(order[position])
        return replace(self._tasks[task].sample(rounds), classes=self._classes[task])


def _reduced_pixels(image_bytes: bytes, *, size: int) -> torch.Tensor:
    image = decode(image_bytes)
    factor = round(size * CACHED_SIDE) / min(image.size)
    if factor < 1:
        reduced = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(reduced, Image.Resampling.BICUBIC)
    return pixels_of(image)
