"""A small member with random weights of each family of open_clip's architectures, built as open_clip builds it."""

from __future__ import annotations

import copy
from typing import Any

import open_clip
import pytest
import torch
from transformers import M2M100Config, MT5Config, PretrainedConfig, RobertaConfig, XLMRobertaConfig

from gift_core.clip.architectures import build_model
from gift_core.clip.model import Clip, as_clip

VOCABULARY, LENGTH, SIDE = 120, 12, 32
TEXT = {"context_length": LENGTH, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": SIDE, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}

# Architecture of open_clip -> the settings that make its image and its text tower small.
SMALL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ViT-B-16-quickgelu": (VIT, TEXT),
    "RN50": ({"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}, TEXT),
    "convnext_base_w": ({"timm_model_name": "convnext_atto", "image_size": SIDE}, TEXT),
    "EVA02-B-16": ({"timm_model_name": "eva02_tiny_patch14_224", "image_size": 224}, TEXT),
    "ViT-B-16-SigLIP": ({"timm_model_name": "vit_tiny_patch16_224", "image_size": 224}, TEXT),
    "ViT-B-16-SigLIP2": ({"timm_model_name": "vit_tiny_patch16_224", "image_size": 224}, TEXT),
    "MobileCLIP-S1": ({"timm_model_name": "fastvit_t8", "image_size": 64}, TEXT),
    "PE-Core-T-16-384": ({"timm_model_name": "vit_pe_core_tiny_patch16_384", "image_size": 384}, TEXT),
    "ViT-H-14-CLIPA": (VIT, TEXT),
    "ViT-L-14-worldwide": (VIT, TEXT),
    "coca_ViT-B-32": (VIT | {"attn_pooler_heads": 2}, TEXT),
    "roberta-ViT-B-32": (VIT, {}),
    "xlm-roberta-base-ViT-B-32": (VIT, {}),
    "mt5-base-ViT-B-32": (VIT, {}),
    "nllb-clip-base-siglip": ({"timm_model_name": "vit_tiny_patch16_224", "image_size": 224}, {}),
    "coca_roberta-ViT-B-32": (VIT | {"attn_pooler_heads": 2}, {"width": 32}),
}
_ROBERTA = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
_MT5 = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
_M2M = {"vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 64}  # fmt: skip
HUB: dict[str, PretrainedConfig] = {
    "roberta-base": RobertaConfig(**_ROBERTA),
    "xlm-roberta-base": XLMRobertaConfig(**_ROBERTA),
    "google/mt5-base": MT5Config(**_MT5),
    "facebook/nllb-200-distilled-600M": M2M100Config(**_M2M),
}


def without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes transformers load small configurations of the text towers, where it would download them."""
    auto = open_clip.hf_model.AutoConfig
    fetch = auto.from_pretrained

    def small(name: Any, *rest: Any, **options: Any) -> PretrainedConfig:
        return copy.deepcopy(HUB[name]) if name in HUB else fetch(name, *rest, **options)

    monkeypatch.setattr(auto, "from_pretrained", staticmethod(small))


def small_config(name: str) -> dict[str, Any]:
    """model_cfg of the small member of the family of `name`."""
    config = open_clip.get_model_config(name)
    vision, text = SMALL[name]
    config["vision_cfg"] |= vision
    config["text_cfg"] |= text
    if config["vision_cfg"].get("timm_proj") is None and "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_proj"] = "linear"  # the small towers are narrower than their features
    decoder = {"width": 32, "heads": 2, "layers": 1, "context_length": LENGTH, "vocab_size": VOCABULARY}
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= decoder | {"attn_pooler_heads": 2}
    return config | {"embed_dim": 192 if "iglip" in name.lower() else 32}  # the width of timm's smallest ViT


def small_clip(name: str) -> Clip:
    """The model of `small_config`, with a tokenizer of numbers: "3 4" gives the row start, 3, 4, end, padding."""
    torch.manual_seed(0)
    config = small_config(name)
    model = build_model(config, {})
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            # open_clip leaves CoCa's text_decoder.text_projection uninitialized
            tensor.nan_to_num_(0.0, 0.0, 0.0).clamp_(-1e6, 1e6)
    return as_clip(model, number_tokens, config, location="a test", precision="fp32")


def number_tokens(texts: list[str]) -> torch.Tensor:
    """int64 [N, L]; the largest number is the end, 1 is RoBERTa's padding and 0 the padding of all others."""
    rows = [[2, *map(int, text.split()), VOCABULARY - 1] for text in texts]
    return torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows])
