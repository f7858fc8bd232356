"""Models of the official shapes with random weights: their numbers of parameters, their formats, their bytes."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import DiffusionPipeline

from benchmarks.smoke.random_models import parameter_count, part_sizes, require_models
from benchmarks.smoke.sizes import CUT, FULL, VIT_B_16


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return require_models(tmp_path_factory.mktemp("models"), CUT)


def test_the_official_libraries_open_the_models(models: tuple[Path, Path]) -> None:
    model = open_clip.create_model(f"local-dir:{models[0]}")
    tokens_1L = open_clip.get_tokenizer(f"local-dir:{models[0]}")(["a photo of a dog."])
    assert model.encode_text(tokens_1L).shape == (1, 64)
    assert DiffusionPipeline.from_pretrained(models[1], dtype=torch.float32).safety_checker is None


def test_every_full_part_has_the_parameters_of_the_published_weights() -> None:
    assert open_clip.get_model_config("ViT-B-16-quickgelu") == VIT_B_16
    found = part_sizes(FULL)
    millions = {name: round(count / 1e6, 1) for name, count in found.items()}
    assert millions == {"clip": 149.6, "unet": 859.5, "vae": 83.7, "text_encoder": 123.1}
    assert found == FULL.parameters


def test_the_same_size_gives_the_same_bytes_and_is_made_once(models: tuple[Path, Path], tmp_path: Path) -> None:
    again = require_models(tmp_path, CUT)
    for first, second in zip(models, again, strict=True):
        for file in sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file()):
            assert (first / file).read_bytes() == (second / file).read_bytes(), file
    made = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))]
    require_models(tmp_path, CUT)
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))] == made


@pytest.mark.slow
def test_the_full_models_are_written_and_open(tmp_path: Path) -> None:
    clip, diffusion = require_models(tmp_path, FULL)
    assert parameter_count(open_clip.create_model(f"local-dir:{clip}")) == FULL.parameters["clip"]
    pipeline = DiffusionPipeline.from_pretrained(diffusion, dtype=torch.float16)
    for name in ("unet", "vae", "text_encoder"):
        assert parameter_count(getattr(pipeline, name)) == FULL.parameters[name]
