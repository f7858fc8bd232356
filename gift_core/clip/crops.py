"""Random resized crops: the boxes, and a whole batch resampled at once.

B images, H W sides of a source image, S side of the model's images, N pixels of a side.

The boxes follow torchvision.transforms.RandomResizedCrop. A batch is resampled as two small matrix products, with
Pillow's bicubic filter and antialiasing, columns first. Results equal Pillow's within one gray level of 255 where it
takes the columns first, too (tests/clip/test_crops.py), and for photos within three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

ASPECT_RATIOS = (3 / 4, 4 / 3)
ATTEMPTS = 10
CUBIC = -0.5  # Pillow's bicubic coefficient
SUPPORT = 2.0  # half-width of the bicubic filter, in output pixels


def sample_boxes(
    heights: np.ndarray, widths: np.ndarray, *, scale: tuple[float, float], generator: np.random.Generator
) -> np.ndarray:
    """Boxes int64 [B, 4] = (top, left, height, width) in pixels; `scale` bounds their share of the image's area.

    The first of ten attempts whose box fits, else the largest centered box with an aspect ratio of 3/4 to 4/3.
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
    """Whole gray levels 0-255, float32 [B, 3, size, size], of uint8 images [3, H, W], each cropped to its box.

    Images of one size are resampled together, others one by one.
    """
    if len({image.shape for image in images}) == 1:
        return _resample(torch.stack(list(images)), boxes, size=size)
    return torch.cat([_resample(image[None], box[None], size=size) for image, box in zip(images, boxes, strict=True)])


def filter_weights(starts: np.ndarray, lengths: np.ndarray, *, source: int, size: int) -> torch.Tensor:
    """Weights float32 [B, size, source]: row i makes output pixel i from the pixels start ... start + length - 1."""
    ratio_B11 = (lengths / size)[:, None, None]
    stretch_B11 = np.maximum(ratio_B11, 1.0)
    centers_BS1 = starts[:, None, None] + (np.arange(size)[None, :, None] + 0.5) * ratio_B11
    position_11N = np.arange(source)[None, None, :]
    distance_BSN = np.abs(position_11N + 0.5 - centers_BS1) / stretch_B11
    inside_B1N = (position_11N >= starts[:, None, None]) & (position_11N < (starts + lengths)[:, None, None])
    # Keys' cubic convolution kernel
    near_BSN = ((CUBIC + 2) * distance_BSN - (CUBIC + 3)) * distance_BSN**2 + 1
    far_BSN = (((distance_BSN - 5) * distance_BSN + 8) * distance_BSN - 4) * CUBIC
    kernel_BSN = np.where(distance_BSN < 1, near_BSN, np.where(distance_BSN < SUPPORT, far_BSN, 0.0))
    weights_BSN = np.where(inside_B1N, kernel_BSN, 0.0)
    return torch.from_numpy((weights_BSN / weights_BSN.sum(axis=2, keepdims=True)).astype(np.float32))


def _resample(pixels_BCHW: torch.Tensor, boxes: np.ndarray, *, size: int) -> torch.Tensor:
    rows_BSH = filter_weights(boxes[:, 0], boxes[:, 2], source=pixels_BCHW.shape[2], size=size)
    columns_BSW = filter_weights(boxes[:, 1], boxes[:, 3], source=pixels_BCHW.shape[3], size=size)
    rows_B1SH = rows_BSH[:, None].to(pixels_BCHW.device)
    columns_B1WS = columns_BSW[:, None].transpose(-1, -2).to(pixels_BCHW.device)
    # rounded and clipped, as Pillow does after each of its two passes, columns first
    wide_BCHS = (pixels_BCHW.float() @ columns_B1WS).round_().clamp_(0, 255)
    return (rows_B1SH @ wide_BCHS).round_().clamp_(0, 255)
