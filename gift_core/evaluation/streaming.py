"""A task's test split, batch by batch, decoded by a few threads while the model works.

B images of a batch, N of the split, C channels, H W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path

import torch

from gift_core.artifacts.task import read_task
from gift_core.artifacts.task_images import StoredImage, index_task
from gift_core.clip.encoding import image_features
from gift_core.clip.images import CacheBudget, PixelCache, evaluation_preparation, prefetched
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.progress import progress_bar


class HeldOut:
    """The test split of the task in `folder`, in batches of `batch_size`, as often as it is asked for.

    What `allowance` has room for stays in memory between two readings, the rest is decoded anew. At 224 px 2 GiB are
    14,266 images: of the data sets of MTIL only Food101 and SUN397 are decoded more than once. Models that read the
    same object must share their preprocessing. UserError where there are no test images.
    """

    def __init__(self, folder: Path, *, batch_size: int, cache_budget: CacheBudget) -> None:
        self.task = read_task(folder)
        self.batch_size = batch_size
        self._folder, self._allowance = folder, cache_budget
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
        """Yields the images in their order under the evaluation transform, uint8 [B, 3, S, S]."""
        reads = [image.read for image in self._images]
        store = self._store = self._store or PixelCache(reads, evaluation_preparation(clip), self._allowance)

        def draw(number: int) -> torch.Tensor:
            return torch.stack(store.fetch(range(len(self))[number * self.batch_size :][: self.batch_size]))

        with closing(prefetched(draw, -(-len(self) // self.batch_size), device=clip.device)) as batches:
            yield from batches

    @cached_property
    def _images(self) -> Sequence[StoredImage]:
        return index_task(self._folder, "test")


def encode_held_out(clips: Sequence[Clip], images: HeldOut) -> list[torch.Tensor]:
    """Unit features [N, D] of the split by each model, on the CPU; each image is decoded once."""
    features: list[list[torch.Tensor]] = [[] for _ in clips]
    with progress_bar(len(images), f"{images.task.name} images") as bar:
        for pixels_BCHW in images.batches(clips[0]):
            for clip, of_clip in zip(clips, features, strict=True):
                of_clip.append(image_features(clip, pixels_BCHW, batch_size=len(pixels_BCHW)))
            bar.update(len(pixels_BCHW))
    return [torch.cat(of_clip) for of_clip in features]
