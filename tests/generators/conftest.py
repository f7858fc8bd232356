"""A tiny pipeline of every family (families.py), saved as a folder. Its images are 16 px of noise.

It runs the same code between prompt and image as the full-size pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gift_core.config.experiment import GeneratorConfig
from gift_core.generators.pipeline import load_pipeline
from gift_core.work.overlap import Copies

CPU = torch.device("cpu")
SIZE = 16
WORDS = ["a photo of a red snowman.", "a anchor", "a cloud"]
FAMILIES = ("flux", "lcm", "pixart_sigma", "stable_diffusion", "stable_diffusion_3", "stable_diffusion_xl")


def make(family: str) -> Any:
    """The pipeline of a family, with weights from a fixed seed."""
    from tests.generators import families  # imports diffusers

    torch.manual_seed(0)
    return getattr(families, family)()


def levels(image: Image.Image) -> np.ndarray:
    """The pixels as signed integers."""
    return np.asarray(image).astype(int)


def apart(first: Image.Image, second: Image.Image) -> int:
    """The largest difference between two images in any channel of any pixel."""
    return int(np.abs(levels(first) - levels(second)).max())


def first_image(config: GeneratorConfig) -> np.ndarray:
    """The pixels of one image with seed 5."""
    return levels(load_pipeline(config, CPU).generate(WORDS[:1], [5])[0])


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Saves the tiny pipeline of a family once and returns its folder."""
    root = tmp_path_factory.mktemp("pipelines")

    def save(family: str) -> str:
        folder = root / family
        if not folder.exists():
            make(family).save_pretrained(str(folder))
        return str(folder)

    return save


@pytest.fixture
def settings(mini_params: dict[str, Any]) -> Callable[..., GeneratorConfig]:
    """Makes the generator section for a tiny pipeline: two steps, 16 px, and the given changes."""

    def make(pipeline: str | Path, **changes: Any) -> GeneratorConfig:
        section = {**mini_params["generator"], "steps": 2, "size": SIZE, "pipeline": str(pipeline), **changes}
        return GeneratorConfig.model_validate(section)

    return make


@pytest.fixture(params=["cpu", "cuda"])
def each_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The CPU, and one that only says "cuda": there, threads finish images while the next ones are generated."""
    monkeypatch.setattr("gift_core.generators.synthesize.Copies", lambda device: Copies(torch.device("cpu")))
    return torch.device(request.param)
