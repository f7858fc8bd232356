"""Writes the artifacts that training reads, with noise as images: an ingested task, and synthetic pairs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from gift_core.artifacts.shards import Pair, pair_key, write_manifest, write_shard
from gift_core.artifacts.task import TaskInfo, write_task
from gift_core.work.publishing import build_folder

CLASSES = 100
PHOTOGRAPH = (500, 375)  # a common image size of the data sets


def write_noise_task(folder: Path, *, images: int) -> None:
    """Writes a task named after `folder`: `images` training images in CLASSES classes, and one test image."""
    names = tuple(f"thing {number}" for number in range(CLASSES))
    info = TaskInfo(folder.name, class_names=names, templates=("a photo of a {}.",), source="noise")
    train = ((jpeg(number, PHOTOGRAPH), "jpg", number % CLASSES) for number in range(images))
    write_task(folder, info, train, [(jpeg(0, PHOTOGRAPH), "jpg", 0)], images_per_shard=images)


def write_noise_pairs(folder: Path, *, count: int, pixels: int) -> None:
    """Writes one shard of `count` pairs in the format of the stage synthesize. All texts differ."""
    pairs = [
        Pair(pair_key(0, number), number, f"a photo of a thing {number}.", jpeg(number, (pixels, pixels)))
        for number in range(count)
    ]
    with build_folder(folder) as unfinished:
        write_shard(unfinished, 0, pairs, {})
        write_manifest(unfinished, {}, {"count": count, "sha256": "none"})


def jpeg(seed: int, size: tuple[int, int]) -> bytes:
    """Returns a JPEG file of coarse noise, of width and height `size` px."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, format="JPEG", quality=95)
    return file.getvalue()
