"""Image bytes to pixels, and pixels to what the image tower takes.  B images, C channels, H W pixels."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from gift_core.clip.model import Clip


def decode(image_bytes: bytes) -> Image.Image:
    """The RGB picture in `image_bytes` (any format Pillow reads)."""
    with Image.open(io.BytesIO(image_bytes)) as image:
        rgb: Image.Image = image.convert("RGB")
        return rgb


def pixels_of(image: Image.Image) -> torch.Tensor:
    """uint8 [3, H, W] of an RGB picture, at its own size."""
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.reshape(image.height, image.width, 3).permute(2, 0, 1).contiguous()


def evaluation_transform(clip: Clip) -> Callable[[Image.Image], torch.Tensor]:
    """open_clip's own transform for evaluation: resize, centre crop, normalise; RGB picture to float32 [3, S, S]."""
    transform: Callable[[Image.Image], torch.Tensor] = image_transform_v2(
        PreprocessCfg(**clip.config["preprocess_cfg"]), is_train=False
    )
    return transform


def evaluation_pixels(clip: Clip, images: Iterable[bytes]) -> torch.Tensor:
    """uint8 [B, 3, S, S]: the images under the evaluation transform, a quarter of the memory of its float output.

    `normalise` of the result equals open_clip's transform exactly: resizing and cropping end in whole grey levels.
    """
    steps = evaluation_transform(clip).transforms[:-1]  # type: ignore[attr-defined]

    def resized(image_bytes: bytes) -> torch.Tensor:
        value: Any = decode(image_bytes)
        for step in steps:
            value = step(value)
        pixels: torch.Tensor = (value * 255).round().to(torch.uint8)
        return pixels

    rows = [resized(image) for image in images]
    return torch.stack(rows) if rows else torch.empty(0, 3, clip.image_size, clip.image_size, dtype=torch.uint8)


def normalise(clip: Clip, pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """float32 on the model's device, with the model's own mean and deviation per channel.

    `pixels_BCHW` holds grey levels 0-255, uint8 or float.
    """
    preprocess = clip.config["preprocess_cfg"]
    mean_C11 = torch.tensor(preprocess["mean"], device=clip.device).reshape(-1, 1, 1)
    std_C11 = torch.tensor(preprocess["std"], device=clip.device).reshape(-1, 1, 1)
    return (pixels_BCHW.to(clip.device).float() / 255 - mean_C11) / std_C11
