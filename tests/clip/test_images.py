"""Pixels kept as whole grey levels give exactly what open_clip's evaluation transform gives."""

from __future__ import annotations

import torch

from gift_core.clip.images import decode, evaluation_pixels, evaluation_transform, normalise, pixels_of
from tests.clip.tiny import picture, png, tiny_clip


def test_kept_pixels_normalised_equal_open_clips_evaluation_transform() -> None:
    clip = tiny_clip()
    sizes = [(16, 16), (40, 23), (19, 61)]
    images = [png(seed, width=width, height=height) for seed, (width, height) in enumerate(sizes)]
    pixels_BCHW = evaluation_pixels(clip, images)
    assert pixels_BCHW.dtype == torch.uint8
    expected = torch.stack([evaluation_transform(clip)(decode(image)) for image in images])
    assert torch.equal(normalise(clip, pixels_BCHW), expected)


def test_no_images_are_an_empty_batch() -> None:
    assert evaluation_pixels(tiny_clip(), []).shape == (0, 3, 16, 16)


def test_pixels_keep_rows_columns_and_channels_apart() -> None:
    image = picture(0, width=5, height=3)
    pixels_CHW = pixels_of(image)
    assert pixels_CHW.shape == (3, 3, 5)
    assert tuple(pixels_CHW[:, 2, 4].tolist()) == image.getpixel((4, 2))
