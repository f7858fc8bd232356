"""onnxruntime runs the two graphs for any batch, and its features are ours."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from gift_core.checkpoints.loading import load_clip
from gift_core.clip.encoding import encode_images, encode_tokens
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.exports.onnx_graphs import OPSET
from gift_core.exports.table import export_clip
from tests.clip.families import small_clip
from tests.clip.tiny import tiny_clip

TEXTS = ["a photo of a red snowman.", "upwards arrow", "a cat"]


def run(path: Path, rows: torch.Tensor) -> torch.Tensor:
    """What onnxruntime computes of `rows`, by the graph's own names."""
    session = onnxruntime.InferenceSession(path)
    [given], [wanted] = session.get_inputs(), session.get_outputs()
    assert wanted.name == "features"
    return torch.from_numpy(session.run(None, {given.name: rows.numpy()})[0])


def assert_same_features(clip: Clip, folder: Path, tokens_NL: torch.Tensor) -> None:
    for count in (1, len(tokens_NL)):
        pixels_BCHW = torch.randn(count, 3, clip.image_size, clip.image_size)
        with torch.no_grad():
            image_BD, text_ND = encode_images(clip, pixels_BCHW), encode_tokens(clip, tokens_NL[:count])
        torch.testing.assert_close(run(folder / "image.onnx", pixels_BCHW), image_BD, rtol=0, atol=1e-4)
        torch.testing.assert_close(run(folder / "text.onnx", tokens_NL[:count]), text_ND, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def mini(project: Path) -> Clip:
    """The mini model."""
    return load_clip(f"local-dir:{project / 'data/mini/clip'}", device="cpu")


@pytest.fixture(scope="module")
def exported(mini: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    folder = tmp_path_factory.mktemp("onnx") / "out"
    export_clip(mini, folder, to="onnx", provenance={"format": "onnx"})
    return folder


def test_onnxruntime_gives_the_mini_models_features_for_any_batch(mini: Clip, exported: Path) -> None:
    assert_same_features(mini, exported, mini.tokenizer(TEXTS))
    files = {path.name for path in exported.iterdir()}
    assert {"image.onnx", "text.onnx", "model.json", "tokenizer.json", "provenance.json"} <= files


def test_onnxruntime_gives_a_vision_transformers_features(tmp_path: Path) -> None:
    clip = tiny_clip()
    export_clip(clip, tmp_path / "out", to="onnx", provenance={})
    assert_same_features(clip, tmp_path / "out", clip.tokenizer(TEXTS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "convnext_base_w", "MobileCLIP-S1"])
def test_onnxruntime_gives_the_features_of_timms_towers(name: str, tmp_path: Path) -> None:
    clip = small_clip(name)
    clip.config["model_cfg"]["text_cfg"].pop("hf_tokenizer_name", None)  # its tokenizer is made up, and has no files
    tokens_NL = clip.tokenizer(["3 4", "5", "6 7"])
    numbered = dataclasses.replace(clip, tokenizer=lambda texts: tokens_NL[: len(texts)])
    export_clip(numbered, tmp_path / "out", to="onnx", provenance={})
    assert_same_features(numbered, tmp_path / "out", tokens_NL)


def test_the_description_says_how_to_use_the_graphs(mini: Clip, exported: Path) -> None:
    said = json.loads((exported / "model.json").read_text())
    assert said["opset"] == OPSET == onnx.load(exported / "image.onnx").opset_import[0].version
    assert said["image"]["size"] == 64 and said["text"]["context_length"] == 20
    assert said["scale"] == float(mini.scale) and said["preprocess_cfg"] == mini.config["preprocess_cfg"]


def test_without_the_onnx_packages_the_way_to_them_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"onnx, onnxscript is not installed. pip install 'gift-pipeline\[onnx\]'"):
        export_clip(tiny_clip(), tmp_path / "out", to="onnx", provenance={})
    assert not (tmp_path / "out").exists()
