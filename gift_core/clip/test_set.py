"""The test images of a task: their features, and the share of them that a model classifies correctly.

B images of a batch, N images of a test set, K classes, S side of the model's images, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path

import torch

from gift_core.artifacts.task import StoredImage, index_task, read_own_task
from gift_core.clip.device import to_device
from gift_core.clip.encoding import class_features, image_features, predict
from gift_core.clip.images import CacheBudget, PixelCache, evaluation_preparation
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.progress import progress_bar
from gift_core.work.overlap import prefetched


class TestSet:
    """The test images of the task in `folder`, in batches of `batch_size`, as often as they are asked for.

    Decoded images stay in memory between two passes as far as `cache_budget` permits. The others are decoded again.
    2 GiB hold 14,266 images of 224 px: of the data sets of MTIL only Food101 and SUN397 are decoded more than once.
    Models that read the same object must share their preprocessing. UserError where there are no test images.
    """

    def __init__(self, folder: Path, *, batch_size: int, cache_budget: CacheBudget) -> None:
        self.task = read_own_task(folder)
        self.batch_size = batch_size
        self._folder, self._budget = folder, cache_budget
        self._store: PixelCache | None = None
        if not len(self):
            raise UserError(f"{folder}: the task has no test images. Give it some and run stage ingest again.")

    def __len__(self) -> int:
        """The number of images."""
        return self.task.counts["test"]

    @cached_property
    def labels_N(self) -> torch.Tensor:
        """int64 [N]."""
        return torch.tensor([image.label for image in self._images])

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
        return index_task(self._folder, "test")


def encode_test_set(clips: Sequence[Clip], test_set: TestSet) -> list[torch.Tensor]:
    """Returns unit features [N, D] of the test images by each model, on the CPU; each image is decoded once."""
    features: list[list[torch.Tensor]] = [[] for _ in clips]
    with progress_bar(len(test_set), f"{test_set.task.name} images") as bar:
        for pixels_BCHW in test_set.batches(clips[0]):
            for clip, of_clip in zip(clips, features, strict=True):
                of_clip.append(image_features(clip, pixels_BCHW, batch_size=len(pixels_BCHW)))
            bar.update(len(pixels_BCHW))
    return [torch.cat(of_clip) for of_clip in features]


def nearest_classes(clip: Clip, test_set: TestSet) -> torch.Tensor:
    """Returns the class of the task that is nearest to each test image, int64 [N] on the CPU."""
    class_KD = test_set.class_features(clip)
    (image_ND,) = encode_test_set([clip], test_set)
    return predict(image_ND, class_KD).cpu()


def share_correct(predicted_N: torch.Tensor, labels_N: torch.Tensor) -> float:
    """Returns the share (0-1) of the images whose predicted class is that of their label."""
    return float((predicted_N == labels_N).double().mean())
