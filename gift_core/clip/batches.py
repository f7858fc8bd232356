"""Seeded batches of a task's training images.  B images, K classes, L tokens, C channels, H W pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from gift_core.clip.crops import crop_and_resize, draw_boxes
from gift_core.clip.device import to_device
from gift_core.clip.images import decode, normalise, pixels_of
from gift_core.clip.model import Clip
from gift_core.clip.pixels import Allowance, PixelStore
from gift_core.errors import UserError
from gift_core.seeds import seed_for

KEPT_SIDE = 8 / 7  # of the model's image size: 256 for 224, the usual margin between resizing and cropping


@dataclass(frozen=True)
class TaskBatch:
    """Normalised images [B, 3, S, S] on the model's device, and their labels [B].

    A label counts within `classes`, the part of the class prompts that belongs to the batch's task.
    """

    images_BCHW: torch.Tensor
    labels_B: torch.Tensor
    classes: slice = field(default_factory=lambda: slice(None))


class TaskBatches(Protocol):
    """The images of the task that is being learned, and the prompts of its classes."""

    @property
    def class_prompts(self) -> Sequence[str]:
        """One prompt a class, in the order of the labels."""
        ...

    def draw(self, step: int) -> TaskBatch:
        """The batch of step `step`: the same whenever it is asked for."""
        ...


@dataclass(frozen=True)
class ShuffledIndices:
    """An endless stream of indices below `count`, `batch_size` at a time: each epoch is a seeded permutation.

    A batch always has exactly `batch_size` entries, so it may span two epochs; where `count` is smaller than a batch
    it is drawn with replacement.
    """

    count: int
    batch_size: int
    names: tuple[str | int, ...]

    def draw(self, step: int) -> np.ndarray:
        """int64 [batch_size] of step `step`, without any state."""
        if self.count < self.batch_size:
            return self._generator("replacement", step).integers(self.count, size=self.batch_size)
        first = step * self.batch_size
        epochs = range(first // self.count, (first + self.batch_size - 1) // self.count + 1)
        stream = np.concatenate([self._generator("epoch", epoch).permutation(self.count) for epoch in epochs])
        offset = first - epochs.start * self.count
        return stream[offset : offset + self.batch_size]

    def _generator(self, *names: str | int) -> np.random.Generator:
        return np.random.default_rng(seed_for(*self.names, *names))


class LabelledImage(Protocol):
    """An encoded image wherever it lies, and its label."""

    @property
    def label(self) -> int:
        """The number of its class."""
        ...

    def read(self) -> bytes:
        """The encoded image; several threads may read at once."""
        ...


class TrainingImages:
    """A task's training split, decoded when drawn and kept as uint8 as far as `allowance` goes; crops are always new.

    # differs: an image whose shorter side exceeds 8/7 of the model's image size is reduced to that, bicubic, before it
    # is kept, so that a large data set fits in memory; the crops are taken from the reduced image.
    """

    def __init__(
        self,
        clip: Clip,
        images: Sequence[LabelledImage],
        *,
        class_prompts: Sequence[str],
        batch_size: int,
        crop_scale: tuple[float, float],
        names: tuple[str | int, ...],
        allowance: Allowance,
    ) -> None:
        if not images:
            raise UserError(f"{names}: the task has no training images. Ingest it again.")
        self.class_prompts = tuple(class_prompts)
        self._clip, self._crop_scale, self._names = clip, crop_scale, names
        self._store = PixelStore(
            [image.read for image in images], partial(_kept_pixels, size=clip.image_size), allowance
        )
        self._labels_N = torch.tensor([image.label for image in images])
        self._indices = ShuffledIndices(len(images), batch_size, (*names, "shuffle"))

    def draw(self, step: int) -> TaskBatch:
        """Batch `step`, cropped with a generator of its own."""
        chosen = self._indices.draw(step)
        images = self._store.fetch(chosen)
        heights, widths = (np.array([image.shape[axis] for image in images]) for axis in (1, 2))
        generator = np.random.default_rng(seed_for(*self._names, "crop", step))
        boxes = draw_boxes(heights, widths, scale=self._crop_scale, generator=generator)
        pixels_BCHW = to_device(crop_and_resize(images, boxes, size=self._clip.image_size), self._clip.device)
        labels_B = to_device(self._labels_N[torch.from_numpy(chosen)], self._clip.device)
        return TaskBatch(normalise(self._clip, pixels_BCHW), labels_B)


class JointImages:
    """Several tasks at once: each round draws one batch of every task, in a seeded order.

    A batch belongs to one task and is told apart among that task's classes alone, as if the task were learned by
    itself. Without tasks there is nothing to draw.
    """

    def __init__(self, tasks: Sequence[TrainingImages], names: tuple[str | int, ...]) -> None:
        self.class_prompts = tuple(prompt for task in tasks for prompt in task.class_prompts)
        self._tasks, self._names = tasks, names
        counts = [len(task.class_prompts) for task in tasks]
        self._classes = [slice(sum(counts[:at]), sum(counts[: at + 1])) for at in range(len(counts))]

    def draw(self, step: int) -> TaskBatch:
        """Batch `step`: the next one of the task whose turn it is."""
        rounds, turn = divmod(step, len(self._tasks))
        order = np.random.default_rng(seed_for(*self._names, "round", rounds)).permutation(len(self._tasks))
        task = int(order[turn])
        return replace(self._tasks[task].draw(rounds), classes=self._classes[task])


def _kept_pixels(image_bytes: bytes, *, size: int) -> torch.Tensor:
    image = decode(image_bytes)
    factor = round(size * KEPT_SIDE) / min(image.size)
    if factor < 1:
        reduced = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(reduced, Image.Resampling.BICUBIC)
    return pixels_of(image)
