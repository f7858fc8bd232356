"""Pixels equal those of open_clip's transform, cached or not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from open_clip.constants import INCEPTION_MEAN, INCEPTION_STD, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transform import image_transform
from torchvision.transforms import Compose

from gift_core.clip.images import (
    CacheBudget,
    PixelCache,
    decode,
    evaluation_pixels,
    evaluation_preparation,
    in_memory,
    normalize,
)
from tests.artifacts.damage import encoded
from tests.clip.tiny import picture, png, tiny_clip

CLIP = tiny_clip()
PREPARE = evaluation_preparation(CLIP)
IMAGES = [png(seed, width=20 + seed) for seed in range(9)]
EACH = 3 * 16 * 16  # bytes of one of them, decoded


OPENAI = {"resize_mode": "shortest", "interpolation": "bicubic", "mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD}
SIGLIP = {"resize_mode": "squash", "interpolation": "bicubic", "mean": INCEPTION_MEAN, "std": INCEPTION_STD}
PREPROCESSINGS: dict[str, dict[str, Any]] = {
    "OpenAI": OPENAI,
    "OpenAI, bilinear": OPENAI | {"interpolation": "bilinear"},
    "SigLIP": SIGLIP,
    "SigLIP, bilinear": SIGLIP | {"interpolation": "bilinear"},
    "padded": OPENAI | {"resize_mode": "longest"},
    "padded in gray": OPENAI | {"resize_mode": "longest", "fill_color": 127},
}


@pytest.mark.parametrize("side", [16, 31])
@pytest.mark.parametrize("name", sorted(PREPROCESSINGS))
def test_pixels_are_bit_identical_to_open_clips_own_transform(name: str, side: int) -> None:
    """Compared with the way through floats: open_clip's image_transform up to the normalization, times 255."""
    settings = PREPROCESSINGS[name] | {"size": [side, side]}
    clip = dataclasses.replace(CLIP, config=CLIP.config | {"preprocess_cfg": CLIP.config["preprocess_cfg"] | settings})
    theirs = image_transform(side, is_train=False, **PREPROCESSINGS[name])
    sizes = [(16, 16), (31, 31), (40, 23), (19, 61), (7, 9), (200, 64), (2, 50), (63, 64)]
    levels = [picture(seed, width=width, height=height) for seed, (width, height) in enumerate(sizes)]
    pictures = [encoded(image.convert(mode)) for mode in ("RGB", "L", "P", "RGBA") for image in levels]
    floats = [Compose(theirs.transforms[:-1])(decode(image)) for image in pictures]
    expected = torch.stack([(values * 255).round().to(torch.uint8) for values in floats])
    found = evaluation_pixels(clip, pictures)
    assert torch.equal(found, expected)
    assert torch.equal(normalize(clip, found), torch.stack([theirs(decode(image)) for image in pictures]))
    assert evaluation_pixels(clip, []).shape == (0, 3, side, side)


class Counted:
    """An encoded image that counts how often it is read."""

    def __init__(self, image: bytes) -> None:
        self.image, self.reads = image, 0

    def __call__(self) -> bytes:
        self.reads += 1
        return self.image


@pytest.mark.parametrize("room", [0, 4, 9])
def test_the_cache_changes_no_pixel_and_reads_a_cached_image_once_and_any_other_once_a_batch(room: int) -> None:
    reads = [Counted(image) for image in IMAGES]
    cache = PixelCache(reads, PREPARE, CacheBudget(room * EACH + 5))
    expected = evaluation_pixels(CLIP, IMAGES)
    for numbers in ([0, 8, 3, 3, 1], [8, 2, 4, 0, 7], [5, 6, 1], [0, 0, 5, 6]):
        assert torch.equal(torch.stack(cache.fetch(numbers)), expected[numbers])
    assert cache.cached_count == room
    assert [read.reads for read in reads] == {
        0: [3, 2, 1, 1, 1, 2, 2, 1, 2],
        4: [1, 1, 1, 1, 1, 2, 2, 1, 1],  # 0, 8, 3 and 1 are cached
        9: [1] * 9,
    }[room]


def test_caches_share_a_budget() -> None:
    cache_budget = CacheBudget(3 * EACH)
    caches = [PixelCache([in_memory(image) for image in IMAGES], PREPARE, cache_budget) for _ in range(2)]
    for cache in caches:
        cache.fetch([0, 1])
    assert [cache.cached_count for cache in caches] == [2, 1]


@pytest.mark.parametrize("room", [0, 70, 150])  # more than two chunks
def test_a_stream_beyond_the_budget_stays_encoded_or_is_read_again_from_its_files(room: int) -> None:
    files = [Counted(png(seed % 7, width=17)) for seed in range(150)]
    pictures = [file.image for file in files]
    for reads in ([None] * 150, files):
        cache = PixelCache.filled(zip(pictures, reads, strict=True), PREPARE, CacheBudget(room * EACH))
        assert len(cache) == 150 and cache.cached_count == room and not any(file.reads for file in files)
        assert torch.equal(torch.stack(cache.fetch(range(150))), evaluation_pixels(CLIP, pictures))
    assert [file.reads for file in files] == [0] * room + [1] * (150 - room)
