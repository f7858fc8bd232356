"""The scorer: the real miniature CLIP, and the errors when a model cannot be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from gift_core.config.generator import FiltersConfig
from gift_core.errors import UserError
from gift_core.generators.filters import Scorer, load_scorer
from tests.clip.tiny import tiny_config

CPU = torch.device("cpu")


def filters(name: str, pretrained: str | None = None) -> FiltersConfig:
    scorer = {"name": name, "pretrained": pretrained}
    return FiltersConfig(scorer=scorer, min_clip_score=0.2, max_similarity=None, max_redraws=1)


@pytest.fixture(scope="module")
def mini(project: Path) -> str:
    return f"local-dir:{project / 'data/mini/clip'}"


@pytest.fixture(scope="module")
def scorer(mini: str) -> Scorer:
    return load_scorer(filters(mini).scorer, CPU)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size=(40, 30, 3), dtype=np.uint8))


def test_features_are_those_of_open_clip(scorer: Scorer, mini: str) -> None:
    model, _, transform = open_clip.create_model_and_transforms(mini)
    model.eval()
    with torch.no_grad():
        image_1D = model.encode_image(transform(picture(1)).unsqueeze(0))
        text_1D = model.encode_text(open_clip.get_tokenizer(mini)(["a photo of a red star."]))
    image_D, text_D = scorer.image_features(picture(1)), scorer.text_features("a photo of a red star.")
    assert np.allclose(image_D, torch.nn.functional.normalize(image_1D)[0], atol=1e-6)
    assert np.allclose(text_D, torch.nn.functional.normalize(text_1D)[0], atol=1e-6)
    assert np.linalg.norm(image_D) == pytest.approx(1.0, abs=1e-5)


def test_an_architecture_takes_its_weights_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "tiny-scorer.json").write_text(json.dumps(tiny_config()["model_cfg"]))
    open_clip.add_model_config(tmp_path / "tiny-scorer.json")
    torch.manual_seed(3)
    model = open_clip.create_model("tiny-scorer").eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    scorer = load_scorer(filters("tiny-scorer", str(tmp_path / "weights.pt")).scorer, CPU)
    with torch.no_grad():
        text_1D = model.encode_text(open_clip.get_tokenizer("tiny-scorer")(["a star"]), normalize=True)
    assert np.allclose(scorer.text_features("a star"), text_1D[0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("ViT-B-23", "openai", r"scorer\.name: unknown name 'ViT-B-23'\. Did you mean 'ViT-B-32'\?"),
        ("ViT-B-32", None, r"scorer\.pretrained: ViT-B-32 needs weights\. Write a file or one of these tags: .*openai"),
        ("ViT-B-32", "opneai", r"scorer\.pretrained .*unknown name 'opneai'\. Did you mean 'openai'\?"),
        ("hf-hub:nobody/nothing", None, r"scorer: open_clip cannot load hf-hub:nobody/nothing"),
    ],
)
def test_a_scorer_that_cannot_be_loaded_is_an_error(name: str, pretrained: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_scorer(filters(name, pretrained).scorer, CPU)
