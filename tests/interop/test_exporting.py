"""transformers, onnxruntime and safetensors load what was exported, and their features are ours."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from open_clip.model import CustomTextCLIP
from PIL import Image
from safetensors import safe_open
from sklearn.datasets import load_sample_images
from transformers import CLIPModel, CLIPProcessor

from gift_core.artifacts.model_folder import read_provenance
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_transform
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.interop.exporting import OPSET, clip_tokenizer, export_clip
from gift_core.interop.importing import load_clip
from tests.clip.families import small_clip
from tests.clip.tiny import CONTEXT, TOKENIZER, tiny_clip, tiny_config, tiny_model

TEXTS = ["a photo of a Chinese temple.", "naïve café's 12 dogs & a cat!"]
# Reduced to 16 px it is 24 x 16, so the margins of the crop are even. With odd ones transformers crops one pixel off.
PHOTOGRAPH = Image.fromarray(load_sample_images().images[0]).crop((0, 0, 640, 426))


def our_features(clip: Clip) -> torch.Tensor:
    with torch.no_grad():
        image_BD = encode_images(clip, evaluation_transform(clip)(PHOTOGRAPH)[None])
        return torch.cat([image_BD, encode_tokens(clip, tokenize(clip, TEXTS))])


def their_features(folder: Path) -> torch.Tensor:
    """Features that transformers alone computes from the photograph and the texts."""
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    inputs = processor(text=TEXTS, images=PHOTOGRAPH, return_tensors="pt", padding=True)
    with torch.no_grad():
        found = model(**inputs)
    return torch.cat([found.image_embeds, found.text_embeds])


def quick(clip: Clip) -> Clip:
    clip.config["model_cfg"]["quick_gelu"] = True
    return dataclasses.replace(clip, model=tiny_model(quick=True))


def with_text_tower(clip: Clip) -> Clip:
    clip.config["model_cfg"]["custom_text"] = True
    return dataclasses.replace(clip, model=CustomTextCLIP(**tiny_config()["model_cfg"]).eval())


def prepared(clip: Clip) -> Clip:
    clip.config["preprocess_cfg"] |= {"interpolation": "bilinear", "resize_mode": "squash"}
    return clip


@pytest.mark.parametrize("variant", [quick, with_text_tower, prepared])
def test_transformers_and_a_second_import_give_our_features(variant: Callable[[Clip], Clip], tmp_path: Path) -> None:
    clip = variant(tiny_clip())
    export_clip(clip, tmp_path / "out", to="transformers", provenance={"format": "transformers"})
    torch.testing.assert_close(their_features(tmp_path / "out"), our_features(clip), rtol=0, atol=1e-4)
    assert CLIPModel.from_pretrained(tmp_path / "out").logit_scale.exp() == clip.scale
    assert read_provenance(tmp_path / "out") == {"format": "transformers"}
    again = load_clip(f"local-dir:{tmp_path / 'out'}", device="cpu")
    torch.testing.assert_close(our_features(again), our_features(clip), rtol=0, atol=1e-6)


def test_transformers_tokenizer_numbers_texts_as_open_clip_does() -> None:
    texts = [*TEXTS, "  Two\nlines,   UPPER case ", "日本語 and emoji 🙂", "it's 3.14 <tag> #hash @home", "", "x" * 300]
    ours_NL = TOKENIZER(texts)
    theirs = clip_tokenizer(CONTEXT)(texts, truncation=True, max_length=CONTEXT).input_ids
    for row_L, numbers in zip(ours_NL, theirs, strict=True):
        end = int(row_L.argmax()) + 1
        assert row_L[:end].tolist() == numbers


def test_what_clipmodel_cannot_express_is_refused_with_the_reason(tmp_path: Path) -> None:
    lacking = tiny_clip()
    lacking.config["model_cfg"]["vision_cfg"]["no_ln_pre"] = lacking.config["model_cfg"]["text_cfg"][
        "no_causal_mask"
    ] = True
    for clip, reason in (
        (small_clip("ViT-B-16-SigLIP"), "CLIPConfig has no setting for init_logit_bias, "),
        (lacking, "CLIPConfig has no setting for vision_cfg.no_ln_pre, text_cfg.no_causal_mask"),
    ):
        with pytest.raises(UserError, match=f"CLIPModel cannot express this model: {reason}.*Export safetensors or"):
            export_clip(clip, tmp_path / "out", to="transformers", provenance={})
        assert not (tmp_path / "out").exists()


MINI_TEXTS = ["a photo of a red snowman.", "upwards arrow", "a cat"]


def run(path: Path, rows: torch.Tensor) -> torch.Tensor:
    """What onnxruntime computes from `rows`."""
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


def test_onnxruntime_gives_the_features_of_a_resnet_and_a_vision_transformer(mini: Clip, tmp_path: Path) -> None:
    exported = tmp_path / "out"
    export_clip(mini, exported, to="onnx", provenance={"format": "onnx"})
    assert_same_features(mini, exported, mini.tokenizer(MINI_TEXTS))
    files = {path.name for path in exported.iterdir()}
    assert not [path for path in exported.iterdir() if b"/site-packages/" in path.read_bytes()]
    assert {"image.onnx", "text.onnx", "model.json", "tokenizer.json", "provenance.json"} <= files
    said = json.loads((exported / "model.json").read_text())  # how to use the graphs
    assert said["opset"] == OPSET == onnx.load(exported / "image.onnx").opset_import[0].version
    assert (said["image"]["size"], said["text"]["context_length"], said["scale"]) == (64, 20, float(mini.scale))
    export_clip(tiny_clip(), tmp_path / "vit", to="onnx", provenance={})
    assert_same_features(tiny_clip(), tmp_path / "vit", tiny_clip().tokenizer(TEXTS))


def test_the_single_file_loads_back_and_safetensors_alone_reads_it(mini: Clip, project: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_clip(mini, tmp_path / name, to="safetensors", provenance={"format": "safetensors"})
    path = tmp_path / "one/model.safetensors"
    assert path.read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    again = load_clip(f"local-file:{path}", device="cpu")
    assert again.config == mini.config
    assert torch.equal(tokenize(again, MINI_TEXTS), tokenize(mini, MINI_TEXTS))
    torch.testing.assert_close(again.model.state_dict(), mini.model.state_dict(), rtol=0, atol=0)
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["open_clip"])
    assert described["config"] == mini.config
    assert described["provenance"] == {"format": "safetensors"}
    assert described["tokenizer"]["tokenizer.json"] == (project / "data/mini/clip/tokenizer.json").read_text()
