"""The random models of the smoke run."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import DiffusionPipeline

from benchmarks.smoke.random_models import parameter_count, part_sizes, require_models
from benchmarks.smoke.sizes import FULL, VIT_B_16


def test_every_full_part_has_the_parameters_of_the_published_weights() -> None:
    assert open_clip.get_model_config("ViT-B-16-quickgelu") == VIT_B_16
    found = part_sizes(FULL)
    millions = {name: round(count / 1e6, 1) for name, count in found.items()}
    assert millions == {"clip": 149.6, "unet": 859.5, "vae": 83.7, "text_encoder": 123.1}
    assert found == FULL.parameters


@pytest.mark.slow
def test_the_full_models_are_written_and_open(tmp_path: Path) -> None:
    clip, diffusion = require_models(tmp_path, FULL)
    assert parameter_count(open_clip.create_model(f"local-dir:{clip}")) == FULL.parameters["clip"]
    pipeline = DiffusionPipeline.from_pretrained(diffusion, dtype=torch.float16)
    for name in ("unet", "vae", "text_encoder"):
        assert parameter_count(getattr(pipeline, name)) == FULL.parameters[name]
