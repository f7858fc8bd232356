"""A tiny pipeline of every family (families.py). Its images are 16 px of noise.

It runs the same code between prompt and image as the full-size pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from gift_core.config.generator import GeneratorConfig
from gift_core.generators.pipeline import TextToImage, load_pipeline

CPU = torch.device("cpu")
SIZE = 16
WORDS = ["a photo of a red snowman.", "a anchor", "a cloud"]
FAMILIES = ("flux", "lcm", "pixart_sigma", "stable_diffusion", "stable_diffusion_3", "stable_diffusion_xl")


def make(family: str) -> Any:
    """The pipeline of a family, with weights from a fixed seed."""
    from tests.generators import families  # imports diffusers

    torch.manual_seed(0)
    return getattr(families, family)()


def load(
    folder: str, settings: Callable[..., GeneratorConfig], *, device: torch.device = CPU, **changes: Any
) -> TextToImage:
    """The pipeline in `folder` on `device`."""
    return load_pipeline(settings(folder, **changes), device)


def levels(image: Image.Image) -> np.ndarray:
    """The pixels as signed integers."""
    return np.asarray(image).astype(int)


def apart(first: Image.Image, second: Image.Image) -> int:
    """The largest difference between two images in any channel of any pixel."""
    return int(np.abs(levels(first) - levels(second)).max())


def first_image(config: GeneratorConfig) -> np.ndarray:
    """The pixels of one image with seed 5."""
    return levels(load_pipeline(config, CPU).generate(WORDS[:1], [5])[0])
