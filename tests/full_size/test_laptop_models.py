"""The random models of the smoke runs: those of presets/laptop.yaml are loaded by the names of params.yaml."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import DiffusionPipeline

from benchmarks.experiment import read_experiment
from benchmarks.smoke.laptop import CLIPS, GENERATORS, PRESET, laptop_experiment, write_hub
from benchmarks.smoke.random_models import parameter_count, part_sizes, require_models
from benchmarks.smoke.sizes import FULL, VIT_B_16
from gift_core.clip.model import load_folder, save_clip
from gift_core.interop.importing import load_clip

CPU = torch.device("cpu")
PROMPTS = ["a photo of a red panda.", "a photo of a harp."]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_the_smoke_run_has_the_models_and_settings_of_the_preset() -> None:
    preset = read_experiment(PRESET)
    smoke = laptop_experiment(CLIPS["tinyclip_40m"](), GENERATORS["sdxs"], images=4, iterations=2)
    assert (smoke["model"], smoke["generator"]) == (preset["model"], preset["generator"])
    assert (smoke["methods"], smoke["run"]) == (preset["methods"], preset["run"])


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_is_loaded_by_its_name_and_saved_for_the_stages(name: str, hub: Path, tmp_path: Path) -> None:
    published = CLIPS[name]()
    write_hub(hub, published, None)
    clip = load_clip(published.name, published.pretrained, device=CPU)
    assert (clip.parameter_count, clip.scale.dtype) == (published.parameters, torch.float32)
    save_clip(clip, tmp_path / "pretrained", {"name": published.name})
    again = load_folder(tmp_path / "pretrained", device=CPU, precision="fp32")
    pixels_BCHW = torch.rand(2, 3, clip.image_size, clip.image_size)
    tokens_BL = clip.tokenizer(PROMPTS)
    for tower, inputs in (("encode_image", pixels_BCHW), ("encode_text", tokens_BL)):
        with torch.inference_mode():
            first_BD, second_BD = (getattr(each.model, tower)(inputs) for each in (clip, again))
        assert first_BD.shape == (2, clip.embedding_size) and torch.equal(first_BD, second_BD)


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
