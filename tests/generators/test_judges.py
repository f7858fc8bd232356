"""The judges of single images: linear heads as LAION's, and a real safety checker of diffusers with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor

from gift_core.config.generator import FiltersConfig
from gift_core.errors import UserError
from gift_core.generators.filters import QualityFilters, counted_reasons
from gift_core.generators.judges import load_head, load_safety_checker
from tests.artifacts.damage import encoded
from tests.generators.test_filters import Color, ToyScorer

CPU = torch.device("cpu")
NO_CLIP = {"min_clip_score": None, "max_similarity": None, "max_redraws": 1}


def plain(color: Color) -> bytes:
    return encoded(Image.new("RGB", (8, 8), color))


def test_a_head_of_several_layers_scores_as_the_layers_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Dropout(), torch.nn.Linear(5, 1)).eval()
    torch.save({f"layers.{name}": value for name, value in layers.state_dict().items()}, tmp_path / "head.pth")
    feature_D = np.asarray([0.6, 0.0, 0.8], np.float32)
    expected = float(layers(torch.from_numpy(feature_D)))
    assert load_head(tmp_path / "head.pth", 3).score(feature_D) == pytest.approx(expected, abs=1e-6)


def test_an_image_below_the_aesthetic_score_is_rejected(tmp_path: Path) -> None:
    save_file({"weight": torch.tensor([[10.0, 0.0, 0.0]]), "bias": torch.tensor([-1.0])}, tmp_path / "red.safetensors")
    options = {"scorer": {"name": "toy", "pretrained": None}, "aesthetic": {"head": "red", "min_score": 5.0}}
    config = FiltersConfig.model_validate(NO_CLIP | options)
    filters = QualityFilters(config, ToyScorer(), load_head(tmp_path / "red.safetensors", 3))  # type: ignore[arg-type]
    red, green = (filters.verdict(plain(color), "red") for color in ((200, 0, 0), (0, 200, 0)))
    assert (red.reason, green.reason, green.aesthetic) == (None, "aesthetic", pytest.approx(-1.0))
    assert counted_reasons(config) == ["clip_score", "duplicate", "aesthetic"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"weight": torch.zeros(1, 4)}, r"weight has the shape \[1, 4\], but its input has 3 numbers"),
        ({"a": torch.zeros(1)}, "its last layer should give one number"),
        ([1], "it should be a state dict of linear layers"),
    ],
)
def test_a_file_that_is_no_head_is_named(state: object, expected: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "head.pth")
    with pytest.raises(UserError, match=rf"aesthetic.head: .*head.pth: {expected}"):
        load_head(tmp_path / "head.pth", 3)
    with pytest.raises(UserError, match="other.pth cannot be read .*No such file"):
        load_head(tmp_path / "other.pth", 3)


def test_the_safety_checker_rejects_what_it_finds(tmp_path: Path) -> None:
    tower = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(vision_config=tower | {"image_size": 32, "patch_size": 16}, text_config=tower, projection_dim=4)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    model = StableDiffusionSafetyChecker(config)
    options = FiltersConfig.model_validate(NO_CLIP | {"scorer": None, "safety_checker": str(tmp_path)})
    for threshold, reason in ((2.0, None), (-2.0, "unsafe")):  # cosines are between -1 and 1
        torch.nn.init.constant_(model.concept_embeds_weights, threshold)
        torch.nn.init.constant_(model.special_care_embeds_weights, 2.0)
        model.save_pretrained(tmp_path)
        filters = QualityFilters(options, None, None, load_safety_checker(str(tmp_path), CPU))
        assert filters.verdict(plain((9, 9, 9)), "red").reason == reason
    with pytest.raises(UserError, match="safety_checker: diffusers cannot load .*nothing"):
        load_safety_checker(str(tmp_path / "nothing"), CPU)
