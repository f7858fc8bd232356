"""A validation part: training images of each class of an ingested task, sampled by seed. No test image is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gift_core.artifacts.tars import image_extension
from gift_core.artifacts.task import LabeledImage, StoredImage, TaskInfo, index_task, read_own_task, write_task
from gift_core.errors import UserError
from gift_core.seeds import seed_for

HELD_OUT = 0.2  # of each class


def hold_out(source: Path, target: Path, *, seed: int, images_per_shard: int) -> TaskInfo:
    """Writes the task `source` with its training images only: HELD_OUT of each class become the test split.

    A class with one image keeps it for training. UserError if no image can be held out.
    """
    info, images = read_own_task(source), index_task(source, "train")
    held = _sampled(info, images, HELD_OUT, seed)
    if not held:
        raise UserError(
            f"{source}: no class has two training images, so none can be held out for validation. Add images."
        )
    rest = [_labeled(image) for position, image in enumerate(images) if position not in held]
    chosen = [_labeled(images[position]) for position in sorted(held)]
    return write_task(target, info, rest, chosen, images_per_shard=images_per_shard)


def sample_training_images(source: Path, target: Path, *, most: int, seed: int) -> TaskInfo:
    """Writes about `most` training images of the task `source`, each class with its share, as the test split."""
    info, images = read_own_task(source), index_task(source, "train")
    held = _sampled(info, images, min(1.0, most / max(1, len(images))), seed)
    chosen = [_labeled(images[position]) for position in sorted(held)]
    return write_task(target, info, [], chosen, images_per_shard=most)


def _sampled(info: TaskInfo, images: list[StoredImage], share: float, seed: int) -> set[int]:
    """The positions of `share` of each class, at least one. If the share is not all, one image is left over, too."""
    found: set[int] = set()
    for label, name in enumerate(info.class_names):
        own = [position for position, image in enumerate(images) if image.label == label]
        count = len(own) if share == 1 else min(max(1, round(share * len(own))), len(own) - 1)
        order = np.random.default_rng(seed_for("hold out", seed, info.name, name)).permutation(len(own))
        found |= {own[index] for index in order[: max(0, count)]}
    return found


def _labeled(image: StoredImage) -> LabeledImage:
    content = image.read()
    return content, image_extension(content), image.label
