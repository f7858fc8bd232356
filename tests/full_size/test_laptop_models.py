"""The models of presets/laptop.yaml and their alternatives, with random weights: loaded by the names of params.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.experiment import read_experiment
from benchmarks.smoke.laptop import CLIPS, GENERATORS, PRESET, laptop_experiment, write_hub
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
