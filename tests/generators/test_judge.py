"""The CLIP that judges: the real miniature model, and what is said where one cannot be loaded."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from gift_core.config.generator import FiltersConfig
from gift_core.errors import UserError
from gift_core.generators.gates import OpenGates, QualityGates, load_gates
from gift_core.generators.judge import Judge, load_judge
from tests.clip.tiny import tiny_config

CPU = torch.device("cpu")


def gates(name: str, pretrained: str | None = None) -> FiltersConfig:
    judge = {"name": name, "pretrained": pretrained}
    return FiltersConfig(judge=judge, min_clip_score=0.2, max_similarity=None, max_redraws=1)


@pytest.fixture(scope="module")
def mini(project: Path) -> str:
    return f"local-dir:{project / 'data/mini/clip'}"


@pytest.fixture(scope="module")
def judge(mini: str) -> Judge:
    return load_judge(gates(mini).judge, CPU)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size=(40, 30, 3), dtype=np.uint8))


def test_its_features_are_those_of_open_clip(judge: Judge, mini: str) -> None:
    model, _, transform = open_clip.create_model_and_transforms(mini)
    model.eval()
    with torch.no_grad():
        image_1D = model.encode_image(transform(picture(1)).unsqueeze(0))
        text_1D = model.encode_text(open_clip.get_tokenizer(mini)(["a photo of a red star."]))
    image_D, text_D = judge.image_features(picture(1)), judge.text_features("a photo of a red star.")
    assert np.allclose(image_D, torch.nn.functional.normalize(image_1D)[0], atol=1e-6)
    assert np.allclose(text_D, torch.nn.functional.normalize(text_1D)[0], atol=1e-6)
    assert np.linalg.norm(image_D) == pytest.approx(1.0, abs=1e-5)


def test_an_architecture_takes_its_weights_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "tiny-judge.json").write_text(json.dumps(tiny_config()["model_cfg"]))
    open_clip.add_model_config(tmp_path / "tiny-judge.json")
    torch.manual_seed(3)
    model = open_clip.create_model("tiny-judge").eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    judge = load_judge(gates("tiny-judge", str(tmp_path / "weights.pt")).judge, CPU)
    with torch.no_grad():
        text_1D = model.encode_text(open_clip.get_tokenizer("tiny-judge")(["a star"]), normalize=True)
    assert np.allclose(judge.text_features("a star"), text_1D[0], atol=1e-6)


def test_the_gate_is_the_cosine_of_image_and_prompt(judge: Judge) -> None:
    file = io.BytesIO()
    picture(1).save(file, "PNG")
    verdict = QualityGates(gates("x"), judge).verdict(file.getvalue(), "a photo of a red star.")
    cosine = float(judge.image_features(picture(1)) @ judge.text_features("a photo of a red star."))
    assert verdict.clip_score == pytest.approx(cosine, abs=1e-6)
    assert verdict.reason == (None if cosine >= 0.2 else "clip_score")


def test_without_gates_nothing_is_loaded(mini: str) -> None:
    assert isinstance(load_gates(None, CPU), OpenGates)
    assert isinstance(load_gates(gates(mini), CPU), QualityGates)


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("ViT-B-23", "openai", r"judge\.name: unknown name 'ViT-B-23'\. Did you mean 'ViT-B-32'\?"),
        ("ViT-B-32", None, r"judge\.pretrained: ViT-B-32 has no weights of its own\. Give a file or a tag: .*openai"),
        ("ViT-B-32", "opneai", r"judge\.pretrained .*unknown name 'opneai'\. Did you mean 'openai'\?"),
        ("local-dir:nowhere", None, r"judge\.name: nowhere holds no open_clip_config\.json"),
        ("hf-hub:nobody/nothing", None, r"judge: open_clip cannot load hf-hub:nobody/nothing"),
    ],
)
def test_a_judge_that_cannot_be_loaded_is_named(name: str, pretrained: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_judge(gates(name, pretrained).judge, CPU)
