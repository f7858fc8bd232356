"""A task's test split, batch by batch, decoded by a few threads while the model works.

B images of a batch, N of the split, C channels, H W pixels, D features.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from gift_core.artifacts.task import iterate_task, read_task
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import Clip
from gift_core.clip.zero_shot import image_features
from gift_core.errors import UserError
from gift_core.progress import progress_bar

THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes and resizes without holding Python's lock
IMAGES_A_TURN = 16  # decoded by one thread in one go
BATCHES_AHEAD = 2  # decoded while the model works on another
KEPT_BYTES = 2 * 2**30

Sample = tuple[bytes, int]


class Batch(NamedTuple):
    """Test images under the evaluation transform, uint8 [B, 3, S, S], and their labels [B]."""

    pixels_BCHW: torch.Tensor
    labels_B: torch.Tensor


class HeldOut:
    """The test split of the task in `folder`, in batches of `batch_size`, as often as it is asked for.

    Between two readings the first batches stay in memory, as many as `kept_bytes` hold; the rest is decoded anew. At
    224 px 2 GiB are 14,266 images: of the data sets of MTIL only Food101 and SUN397 are decoded more than once.
    Models that read the same object must share their preprocessing. UserError where there are no test images.
    """

    def __init__(self, folder: Path, *, batch_size: int, kept_bytes: int = 0) -> None:
        self.task = read_task(folder)
        self.batch_size = batch_size
        self._folder, self._kept_bytes = folder, kept_bytes
        self._kept: list[Batch] = []
        if not len(self):
            raise UserError(f"{folder}: the task has no test images. Give it some and run stage ingest again.")

    def __len__(self) -> int:
        """The number of images."""
        return self.task.counts["test"]

    def batches(self, clip: Clip) -> Iterator[Batch]:
        """Yields all batches in the order of the images, prepared for `clip`."""
        yield from self._kept
        done = sum(len(batch.labels_B) for batch in self._kept)
        if done == len(self):
            return
        used = sum(batch.pixels_BCHW.nbytes for batch in self._kept)
        samples = islice(iterate_task(self._folder, "test"), done, None)
        for batch in decoded_batches(clip, samples, batch_size=self.batch_size):
            used += batch.pixels_BCHW.nbytes
            if used <= self._kept_bytes:
                self._kept.append(batch)
            yield batch


def encode_held_out(clips: Sequence[Clip], images: HeldOut) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Unit features [N, D] of the split by each model, and its labels [N], on the CPU; each image is decoded once."""
    features: list[list[torch.Tensor]] = [[] for _ in clips]
    labels = []
    with progress_bar(len(images), f"{images.task.name} images") as bar:
        for pixels_BCHW, labels_B in images.batches(clips[0]):
            for clip, of_clip in zip(clips, features, strict=True):
                of_clip.append(image_features(clip, pixels_BCHW, batch_size=len(pixels_BCHW)))
            labels.append(labels_B)
            bar.update(len(labels_B))
    return [torch.cat(of_clip) for of_clip in features], torch.cat(labels)


def decoded_batches(clip: Clip, samples: Iterable[Sample], *, batch_size: int) -> Iterator[Batch]:
    """Yields (encoded image, label) pairs as batches prepared for `clip`, in their order, a few read ahead."""
    remaining = iter(samples)
    waiting: deque[_Pending] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(islice(remaining, batch_size)):
            waiting.append(_submit(pool, clip, batch))
            if len(waiting) > BATCHES_AHEAD:
                yield _collect(waiting.popleft())
        while waiting:
            yield _collect(waiting.popleft())


_Pending = tuple[list["Future[torch.Tensor]"], list[int]]


def _submit(pool: ThreadPoolExecutor, clip: Clip, batch: Sequence[Sample]) -> _Pending:
    images = [image for image, _ in batch]
    turns = (images[start : start + IMAGES_A_TURN] for start in range(0, len(images), IMAGES_A_TURN))
    return [pool.submit(evaluation_pixels, clip, turn) for turn in turns], [label for _, label in batch]


def _collect(pending: _Pending) -> Batch:
    parts, labels = pending
    return Batch(torch.cat([part.result() for part in parts]), torch.tensor(labels))
