"""Models of the official shapes with random weights: their numbers of parameters, their formats, their bytes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from diffusers import DiffusionPipeline, PNDMScheduler

from benchmarks.smoke.random_models import parameter_count, part_sizes, require_models
from benchmarks.smoke.sizes import CUT, FULL, VIT_B_16


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return require_models(tmp_path_factory.mktemp("models"), CUT)


def test_the_clip_is_open_clips_own_vit_b_16_with_quick_gelu() -> None:
    assert open_clip.get_model_config("ViT-B-16-quickgelu") == VIT_B_16


def test_every_full_part_has_the_parameters_of_the_published_weights() -> None:
    found = part_sizes(FULL)
    millions = {name: round(count / 1e6, 1) for name, count in found.items()}
    assert millions == {"clip": 149.6, "unet": 859.5, "vae": 83.7, "text_encoder": 123.1}
    assert found == FULL.parameters


def test_open_clip_alone_opens_the_clip_and_its_tokenizer(models: tuple[Path, Path]) -> None:
    model = open_clip.create_model(f"local-dir:{models[0]}")
    tokens_1L = open_clip.get_tokenizer(f"local-dir:{models[0]}")(["a photo of a dog."])
    assert model.encode_text(tokens_1L).shape == (1, 64)
    assert model.encode_image(torch.zeros(1, 3, 224, 224)).shape == (1, 64)


def test_diffusers_alone_generates_with_the_pipeline(models: tuple[Path, Path]) -> None:
    pipeline = DiffusionPipeline.from_pretrained(models[1], dtype=torch.float32)
    assert isinstance(pipeline.scheduler, PNDMScheduler) and pipeline.safety_checker is None
    generator = torch.Generator().manual_seed(0)
    image = pipeline("a dog", num_inference_steps=2, height=64, width=64, generator=generator).images[0]
    assert image.size == (64, 64) and np.unique(np.asarray(image)).size > 100


def test_the_same_size_gives_the_same_bytes_and_is_made_once(models: tuple[Path, Path], tmp_path: Path) -> None:
    again = require_models(tmp_path, CUT)
    for first, second in zip(models, again, strict=True):
        for file in sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file()):
            assert (first / file).read_bytes() == (second / file).read_bytes(), file
    made = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))]
    require_models(tmp_path, CUT)
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))] == made


@pytest.mark.parametrize("part", ["clip", "unet"])
def test_a_part_of_another_size_than_the_published_one_leaves_nothing(part: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"{part}: [0-9,]+ parameters, the published one has 7"):
        require_models(tmp_path, dataclasses.replace(CUT, parameters={part: 7}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ([] if part == "clip" else ["clip"])


@pytest.mark.slow
def test_the_full_models_are_written_and_open(tmp_path: Path) -> None:
    clip, diffusion = require_models(tmp_path, FULL)
    assert parameter_count(open_clip.create_model(f"local-dir:{clip}")) == FULL.parameters["clip"]
    pipeline = DiffusionPipeline.from_pretrained(diffusion, dtype=torch.float16)
    for name in ("unet", "vae", "text_encoder"):
        assert parameter_count(getattr(pipeline, name)) == FULL.parameters[name]
