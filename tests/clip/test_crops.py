"""Crops: the boxes, and pixels as torchvision and Pillow make them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gift_core.clip.crops import crop_and_resize, sample_boxes
from gift_core.clip.images import pixels_of
from tests.clip.tiny import picture


def boxes_for(height: int, width: int, *, count: int = 500, scale: tuple[float, float] = (0.9, 1.0)) -> np.ndarray:
    sides = np.full(count, height), np.full(count, width)
    return sample_boxes(*sides, scale=scale, generator=np.random.default_rng(1))


@pytest.mark.parametrize(("width", "height", "size"), [(16, 16, 16), (32, 32, 64), (50, 37, 16)])
def test_pixels_equal_pillows_within_one_gray_level(width: int, height: int, size: int) -> None:
    image = picture(3, width=width, height=height)
    boxes = boxes_for(height, width, count=5)
    ours_BCHW = crop_and_resize([pixels_of(image)] * 5, boxes, size=size)
    for ours_CHW, (top, left, box_height, box_width) in zip(ours_BCHW, boxes.tolist(), strict=True):
        cut = image.crop((left, top, left + box_width, top + box_height))
        expected = pixels_of(cut.resize((size, size), Image.Resampling.BICUBIC)).float()
        assert (ours_CHW - expected).abs().max() <= 1


def test_images_of_different_sizes_are_cropped_as_if_alone() -> None:
    images = [pixels_of(picture(5)), pixels_of(picture(6, width=20, height=30))]
    boxes = np.array([[1, 0, 15, 16], [0, 2, 30, 17]])
    together = crop_and_resize(images, boxes, size=16)
    alone = [crop_and_resize([image], box[None], size=16)[0] for image, box in zip(images, boxes, strict=True)]
    assert torch.equal(together, torch.stack(alone))


def test_boxes_lie_inside_cover_the_requested_share_and_reach_every_edge() -> None:
    top, left, height, width = boxes_for(60, 80, scale=(0.5, 0.6)).T
    assert min(top.min(), left.min()) >= 0 and (top + height).max() <= 60 and (left + width).max() <= 80
    shares, ratios = height * width / 4800, width / height
    assert shares.min() > 0.48 and shares.max() < 0.62
    assert ratios.min() > 0.72 and ratios.max() < 1.37
    top, left, height, width = boxes_for(32, 32, count=2000).T
    assert top.min() == 0 and left.min() == 0
    assert (top + height).max() == 32 and (left + width).max() == 32


def test_a_strip_gets_the_largest_centered_box_when_no_attempt_fits() -> None:
    assert np.array_equal(boxes_for(100, 10, count=1), [[43, 0, 13, 10]])  # 10 / (3/4) = 13.3
    assert np.array_equal(boxes_for(10, 100, count=1), [[0, 43, 10, 13]])
