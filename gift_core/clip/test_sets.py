"""The test images of a task, in batches: all of them, or as many as a limit chooses.

B images of a batch, S side of the model's images, N images, C captions, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from gift_core.artifacts.task import Captions, StoredImage, index_task, read_task
from gift_core.clip.encoding import class_features, image_features, require_unit
from gift_core.clip.images import CacheBudget, PixelCache, evaluation_preparation
from gift_core.clip.model import Clip
from gift_core.progress import progress_bar
from gift_core.seeds import seed_for
from gift_core.torch_devices import to_device
from gift_core.work.overlap import prefetched


@dataclass(frozen=True)
class ImageLimit:
    """At most `max_images` test images of each task, chosen by `seed`, the experiment's, and the task's name."""

    max_images: int
    seed: int


class TestSet:
    """The test images of the task in `folder`, in batches of `batch_size`, as often as they are asked for.

    With a limit, those that choose_images chooses, in the order that they have in the task.
    Decoded images stay in memory between two passes as far as `cache_budget` permits. The others are decoded again.
    2 GiB hold 14,266 images of 224 px: of the data sets of MTIL only Food101 and SUN397 are decoded more than once.
    Models that read the same object must share their preprocessing.
    """

    def __init__(
        self, folder: Path, *, batch_size: int, cache_budget: CacheBudget, limit: ImageLimit | None = None
    ) -> None:
        self.task = read_task(folder)
        self.batch_size = batch_size
        self._folder = folder
        self._budget = cache_budget
        self._limit = limit
        self._store: PixelCache | None = None

    def __len__(self) -> int:
        count = self.task.counts["test"]
        return count if self._limit is None else min(count, self._limit.max_images)

    @cached_property
    def labels_N(self) -> torch.Tensor:
        """int64 [N]."""
        return torch.tensor([image.label for image in self._images])

    @cached_property
    def captions(self) -> Sequence[Captions]:
        """The captions of each image, in a task of pairs."""
        return [image.captions for image in self._images]

    @cached_property
    def caption_positions_C(self) -> torch.Tensor:
        """The position of each of these captions among those of all test images, from 0, int64 [C]."""
        counts = [len(image.captions) for image in self._stored]
        of_images = torch.split(torch.arange(sum(counts)), counts)
        return torch.cat([of_images[at] for at in self.positions_N.tolist()])

    @cached_property
    def positions_N(self) -> torch.Tensor:
        """The position of each image among all test images of the task, from 0, ascending, int64 [N]."""
        if self._limit is None:
            return torch.arange(len(self._stored))
        seed = seed_for("test images", self._limit.seed, self.task.name)
        classes = [0 if image.captions else image.label for image in self._stored]
        return torch.tensor(choose_images(classes, self._limit.max_images, seed=seed))

    def batches(self, clip: Clip) -> Iterator[torch.Tensor]:
        """Yields the images in their order under the evaluation transform, uint8 [B, 3, S, S] on the model's device."""
        reads = [image.read for image in self._images]
        store = self._store = self._store or PixelCache(reads, evaluation_preparation(clip), self._budget)

        numbers = range(len(self))
        parts = (numbers[start : start + self.batch_size] for start in numbers[:: self.batch_size])
        pixels = (to_device(torch.stack(store.fetch(part)), clip.device) for part in parts)
        with closing(prefetched(pixels, device=clip.device)) as batches:
            yield from batches

    def class_features(self, clip: Clip) -> torch.Tensor:
        """Returns unit features [K, D] of the task's classes, each the mean over all the task's templates."""
        return class_features(clip, self.task.class_names, self.task.templates, batch_size=self.batch_size)

    @cached_property
    def _images(self) -> Sequence[StoredImage]:
        return [self._stored[position] for position in self.positions_N.tolist()]

    @cached_property
    def _stored(self) -> Sequence[StoredImage]:
        return index_task(self._folder, "test")


def choose_images(labels: Sequence[int], most: int, *, seed: int) -> list[int]:
    """Returns the ascending positions of `most` images, or of all if there are fewer, sampled within each class.

    The number of a class is its share of `most`, rounded by the largest remainders. Each class has one image at least
    if `most` is not less than the number of classes. Otherwise some classes have none.
    """
    if len(labels) <= most:
        return list(range(len(labels)))
    of_class: dict[int, list[int]] = {}  # in a sampled order, so that equal remainders favor no class by its number
    for position in np.random.default_rng(seed).permutation(len(labels)).tolist():
        of_class.setdefault(labels[position], []).append(position)
    counts = {label: len(positions) for label, positions in of_class.items()}
    numbers = dict[int, int]()
    if most >= len(counts):  # first one for each class whose share is less than one
        while small := [label for label, n in counts.items() if n * most < sum(counts.values())]:
            numbers |= dict.fromkeys(small, 1)
            counts = {label: n for label, n in counts.items() if label not in small}
            most -= len(small)
    total = sum(counts.values())
    shares = {label: divmod(n * most, total) for label, n in counts.items()}
    rest = most - sum(number for number, _ in shares.values())
    by_remainder = sorted(shares, key=lambda label: -shares[label][1])
    numbers |= {label: shares[label][0] + (label in by_remainder[:rest]) for label in shares}
    return sorted(position for label, number in numbers.items() for position in of_class[label][:number])


def encode_test_set(clip: Clip, test_set: TestSet) -> torch.Tensor:
    """Returns unit features [N, D] of the test images, on the model's device. UserError as require_unit."""
    features = []
    with progress_bar(len(test_set), f"{test_set.task.name} images") as bar:
        for pixels_BCHW in test_set.batches(clip):
            features.append(image_features(clip, pixels_BCHW, batch_size=len(pixels_BCHW)))
            bar.update(len(pixels_BCHW))
    return require_unit(torch.cat(features), "images")
