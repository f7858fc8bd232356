"""transformers loads what was exported, and its features from a photograph are ours."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import CustomTextCLIP
from PIL import Image
from sklearn.datasets import load_sample_images
from transformers import CLIPModel, CLIPProcessor

from gift_core.artifacts.model_folder import read_provenance
from gift_core.checkpoints.loading import load_clip
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_transform
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.exports.table import export_clip
from gift_core.exports.transformers_folder import clip_tokenizer
from tests.checkpoints.weights import tiny_model
from tests.clip.families import small_clip
from tests.clip.tiny import CONTEXT, tiny_clip

TEXTS = ["a photo of a Chinese temple.", "naïve café's 12 dogs & a cat!"]
# Reduced to 16 px it is 24 x 16: the margins beside the crop are even. At odd ones transformers crops one pixel off.
PHOTOGRAPH = Image.fromarray(load_sample_images().images[0]).crop((0, 0, 640, 426))


def our_features(clip: Clip) -> torch.Tensor:
    with torch.no_grad():
        image_BD = encode_images(clip, evaluation_transform(clip)(PHOTOGRAPH)[None])
        return torch.cat([image_BD, encode_tokens(clip, tokenize(clip, TEXTS))])


def their_features(folder: Path) -> torch.Tensor:
    """By transformers alone, from the photograph and the texts themselves."""
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    inputs = processor(text=TEXTS, images=PHOTOGRAPH, return_tensors="pt", padding=True)
    with torch.no_grad():
        found = model(**inputs)
    return torch.cat([found.image_embeds, found.text_embeds])


def variant(kind: str) -> Clip:
    clip = tiny_clip()
    quick = clip.config | {"model_cfg": clip.config["model_cfg"] | {"quick_gelu": True}}
    custom = clip.config | {"model_cfg": clip.config["model_cfg"] | {"custom_text": True}}
    bilinear = clip.config | {"preprocess_cfg": clip.config["preprocess_cfg"] | {"interpolation": "bilinear"}}
    squashed = clip.config | {"preprocess_cfg": clip.config["preprocess_cfg"] | {"resize_mode": "squash"}}
    torch.manual_seed(4)
    return {
        "GELU": clip,
        "QuickGELU": dataclasses.replace(clip, model=tiny_model(quick=True), config=quick),
        "text tower of its own": dataclasses.replace(
            clip, model=CustomTextCLIP(**clip.config["model_cfg"]).eval(), config=custom
        ),
        "bilinear": dataclasses.replace(clip, config=bilinear),
        "squashed": dataclasses.replace(clip, config=squashed),
    }[kind]


@pytest.mark.parametrize("kind", ["GELU", "QuickGELU", "text tower of its own", "bilinear", "squashed"])
def test_transformers_gives_our_features_of_a_photograph(kind: str, tmp_path: Path) -> None:
    clip = variant(kind)
    files = export_clip(clip, tmp_path / "out", to="transformers", provenance={"format": "transformers"})
    torch.testing.assert_close(their_features(tmp_path / "out"), our_features(clip), rtol=0, atol=1e-4)
    assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"} <= {
        path.name for path in files
    }
    assert read_provenance(tmp_path / "out") == {"format": "transformers"}


def test_the_scale_and_the_logits_are_ours(tmp_path: Path) -> None:
    clip = tiny_clip()
    export_clip(clip, tmp_path / "out", to="transformers", provenance={})
    assert CLIPModel.from_pretrained(tmp_path / "out").logit_scale.exp() == clip.scale


def test_what_is_exported_comes_back(tmp_path: Path) -> None:
    clip = variant("QuickGELU")
    export_clip(clip, tmp_path / "out", to="transformers", provenance={})
    again = load_clip(f"local-dir:{tmp_path / 'out'}", device="cpu")
    torch.testing.assert_close(our_features(again), our_features(clip), rtol=0, atol=1e-6)
    assert again.config["preprocess_cfg"]["mean"] == clip.config["preprocess_cfg"]["mean"]


def test_the_tokenizer_of_the_mini_model_goes_along(project: Path, tmp_path: Path) -> None:
    mini = load_clip(f"local-dir:{project / 'data/mini/clip'}", device="cpu")
    config = tiny_clip().config
    text = mini.config["model_cfg"]["text_cfg"] | {"width": 16, "heads": 2, "layers": 1}
    model_cfg = config["model_cfg"] | {"text_cfg": text}
    towers = {key: value for key, value in text.items() if key != "hf_tokenizer_name"}
    model = open_clip.CLIP(**(model_cfg | {"text_cfg": towers})).eval()
    clip = dataclasses.replace(mini, model=model, config=config | {"model_cfg": model_cfg})
    export_clip(clip, tmp_path / "out", to="transformers", provenance={})
    torch.testing.assert_close(their_features(tmp_path / "out"), our_features(clip), rtol=0, atol=1e-4)


def test_transformers_tokenizer_numbers_texts_as_open_clip_does() -> None:
    texts = [*TEXTS, "  Two\nlines,   UPPER case ", "日本語 and emoji 🙂", "it's 3.14 <tag> #hash @home", "", "x" * 300]
    ours_NL = open_clip.SimpleTokenizer(context_length=CONTEXT)(texts)
    theirs = clip_tokenizer(CONTEXT)(texts, truncation=True, max_length=CONTEXT).input_ids
    for row_L, numbers in zip(ours_NL, theirs, strict=True):
        end = int(row_L.argmax()) + 1
        assert row_L[:end].tolist() == numbers


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RN50", "its image tower is a ResNet"),
        ("convnext_base_w", "its image tower is timm's convnext_atto"),
        ("ViT-B-16-SigLIP", r"it has a logit bias \(SigLIP\)"),
        ("coca_ViT-B-32", r"it has a caption decoder \(CoCa\)"),
        ("ViT-H-14-CLIPA", "its text feature is read by pool_type 'last'"),
    ],
)
def test_what_clipmodel_cannot_express_is_refused_with_the_reason(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"CLIPModel cannot express this model: {reason}.*Export onnx instead"):
        export_clip(small_clip(name), tmp_path / "out", to="transformers", provenance={})
    assert not (tmp_path / "out").exists()


def test_settings_without_a_word_in_clipconfig_are_named(tmp_path: Path) -> None:
    clip = tiny_clip()
    clip.config["model_cfg"]["vision_cfg"]["no_ln_pre"] = True
    clip.config["model_cfg"]["text_cfg"]["no_causal_mask"] = True
    with pytest.raises(UserError, match=r"no word for vision_cfg.no_ln_pre, text_cfg.no_causal_mask"):
        export_clip(clip, tmp_path / "out", to="transformers", provenance={})
