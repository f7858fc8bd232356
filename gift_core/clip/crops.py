"""Random resized crops of a whole batch as two small matrix products.  B images, S output side, H W input sides.

The boxes follow the rule of torchvision.transforms.RandomResizedCrop; the resampling is Pillow's bicubic filter with
antialiasing, inside the box; results equal Pillow's within one grey level of 255 (tests/clip/test_crops.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

ASPECT_RATIOS = (3 / 4, 4 / 3)
ATTEMPTS = 10
CUBIC = -0.5  # Pillow's bicubic coefficient
SUPPORT = 2.0  # its half-width, in output pixels


def draw_boxes(
    heights: np.ndarray, widths: np.ndarray, *, scale: tuple[float, float], generator: np.random.Generator
) -> np.ndarray:
    """Whole-pixel boxes int64 [B, 4] = (top, left, height, width), each `scale` of its image's area.

    The first of ten attempts whose box fits; else the largest centred box with an aspect ratio of 3/4 to 4/3.
    """
    count = len(heights)
    areas = (heights * widths)[:, None] * generator.uniform(*scale, size=(count, ATTEMPTS))
    low, high = ASPECT_RATIOS
    ratios = np.exp(generator.uniform(math.log(low), math.log(high), size=(count, ATTEMPTS)))
    box_widths = np.rint(np.sqrt(areas * ratios)).astype(np.int64)
    box_heights = np.rint(np.sqrt(areas / ratios)).astype(np.int64)
    fits = (box_widths > 0) & (box_widths <= widths[:, None]) & (box_heights > 0) & (box_heights <= heights[:, None])
    first = fits.argmax(axis=1)
    rows = np.arange(count)
    any_fits = fits.any(axis=1)
    own_ratios = np.clip(widths / heights, low, high)
    fallback_widths = np.minimum(widths, np.rint(heights * own_ratios)).astype(np.int64)
    fallback_heights = np.minimum(heights, np.rint(widths / own_ratios)).astype(np.int64)
    height = np.where(any_fits, box_heights[rows, first], fallback_heights)
    width = np.where(any_fits, box_widths[rows, first], fallback_widths)
    offset_y, offset_x = generator.random(count), generator.random(count)
    top = np.where(any_fits, np.floor(offset_y * (heights - height + 1)), (heights - height) // 2)
    left = np.where(any_fits, np.floor(offset_x * (widths - width + 1)), (widths - width) // 2)
    return np.stack([top, left, height, width], axis=1).astype(np.int64)


def crop_and_resize(images: Sequence[torch.Tensor], boxes: np.ndarray, *, size: int) -> torch.Tensor:
    """float32 grey levels 0-255 [B, 3, size, size] of uint8 images [3, H, W], each cut to its box.

    Images of one size are resampled together, others one by one.
    """
    if len({image.shape for image in images}) == 1:
        return _resample(torch.stack(list(images)), boxes, size=size)
    return torch.cat([_resample(image[None], box[None], size=size) for image, box in zip(images, boxes, strict=True)])


def _resample(pixels_BCHW: torch.Tensor, boxes: np.ndarray, *, size: int) -> torch.Tensor:
    rows_BSH = filter_weights(boxes[:, 0], boxes[:, 2], source=pixels_BCHW.shape[2], size=size)
    columns_BSW = filter_weights(boxes[:, 1], boxes[:, 3], source=pixels_BCHW.shape[3], size=size)
    rows_B1SH = rows_BSH[:, None].to(pixels_BCHW.device)
    columns_B1WS = columns_BSW[:, None].transpose(-1, -2).to(pixels_BCHW.device)
    wide_BCHS = _whole_levels(pixels_BCHW.float() @ columns_B1WS)
    return _whole_levels(rows_B1SH @ wide_BCHS)


def _whole_levels(levels: torch.Tensor) -> torch.Tensor:
    """Grey levels as a byte can hold them: Pillow rounds and clips after each of its two passes, columns first."""
    return levels.round_().clamp_(0, 255)


def filter_weights(starts: np.ndarray, lengths: np.ndarray, *, source: int, size: int) -> torch.Tensor:
    """Weights [B, size, source]: row i makes output pixel i from the pixels start ... start + length - 1."""
    ratio_B11 = (lengths / size)[:, None, None]
    stretch_B11 = np.maximum(ratio_B11, 1.0)
    centres_BS1 = starts[:, None, None] + (np.arange(size)[None, :, None] + 0.5) * ratio_B11
    position_11N = np.arange(source)[None, None, :]
    distance_BSN = np.abs(position_11N + 0.5 - centres_BS1) / stretch_B11
    inside_B1N = (position_11N >= starts[:, None, None]) & (position_11N < (starts + lengths)[:, None, None])
    weights_BSN = np.where(inside_B1N, _bicubic(distance_BSN), 0.0)
    return torch.from_numpy((weights_BSN / weights_BSN.sum(axis=2, keepdims=True)).astype(np.float32))


def _bicubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel of a distance >= 0."""
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * CUBIC
    return np.where(distance < 1, near, np.where(distance < SUPPORT, far, 0.0))
