"""The CLIP of transformers as open_clip's, and back: configuration, weights, preprocessing.

D features, W width of a tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from gift_core.clip.model import read_json_object
from gift_core.errors import UserError, explained

TRANSFORMERS_CONFIG = "config.json"
TRANSFORMERS_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_PREPROCESSING_FILES = ("processor_config.json", "preprocessor_config.json")
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}  # hidden_act -> open_clip's quick_gelu
_ARGMAX = 2  # with this eos_token_id, CLIPTextModel reads the feature at the largest token
_RESAMPLE = {"bicubic": 3, "bilinear": 2, "nearest": 0}  # Pillow's numbers

# open_clip's settings that CLIPConfig has under another name, those that it has in another form, those of no effect.
_FIELDS = {
    "vision_cfg": {"width": "hidden_size", "layers": "num_hidden_layers", "image_size": "image_size",
                   "patch_size": "patch_size"},
    "text_cfg": {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
                 "context_length": "max_position_embeddings", "vocab_size": "vocab_size"},
}  # fmt: skip
_CONVERTED = ("head_width", "mlp_ratio", "norm_kwargs")
_WITHOUT_EFFECT = ("patch_dropout", "timm_model_pretrained", "hf_model_pretrained", "hf_tokenizer_name",
                   "tokenizer_kwargs", "eos_id", "pad_id", "output_tokens")  # fmt: skip

# Parts of the names of weights, CLIPModel's and open_clip's. Longer ones come first, since they contain shorter ones.
_NAMES = (
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("visual_projection.weight", "visual.proj"),
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_projection.weight", "text_projection"),
    (".self_attn.", ".attn."),
    (".layer_norm", ".ln_"),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
_PROJECTIONS = ("visual.proj", "text_projection")  # [W, D], in CLIPModel [D, W]
_QKV = ("q", "k", "v")


def model_config_of(config: Mapping[str, Any], location: str) -> dict[str, Any]:
    """open_clip's model_cfg of transformers' `config` (the content of config.json).

    UserError, which begins with `location`, if open_clip has no such model.
    """
    from transformers import CLIPConfig

    remedy = "Only such models of transformers can be imported."
    with explained(f"{location}: no CLIPModel that open_clip has, too", remedy):
        if config.get("model_type") != "clip":
            raise ValueError(f"model_type is {str(config.get('model_type'))[:80]!r}, expected 'clip'")
        whole = CLIPConfig.from_dict(config)
        vision, text = whole.vision_config, whole.text_config
        if vision.hidden_act not in _ACTIVATIONS:
            raise ValueError(f"hidden_act is {vision.hidden_act!r}, open_clip has {', '.join(_ACTIVATIONS)}")
        if (vision.hidden_act, vision.layer_norm_eps) != (text.hidden_act, text.layer_norm_eps):
            raise ValueError("its two towers differ in hidden_act or layer_norm_eps, open_clip's cannot")
        norm = {"norm_kwargs": {"eps": vision.layer_norm_eps}} if vision.layer_norm_eps != 1e-5 else {}
        sections: dict[str, dict[str, Any]] = {}
        for section, theirs in (("vision_cfg", vision), ("text_cfg", text)):
            sections[section] = {ours: getattr(theirs, name) for ours, name in _FIELDS[section].items()}
            sections[section] |= {"mlp_ratio": theirs.intermediate_size / theirs.hidden_size, **norm}
        sections["vision_cfg"]["head_width"] = vision.hidden_size // vision.num_attention_heads
        if text.eos_token_id not in (_ARGMAX, text.vocab_size - 1):
            sections["text_cfg"] |= {"pool_type": "eos", "eos_id": text.eos_token_id}
        return {"embed_dim": whole.projection_dim, "quick_gelu": _ACTIVATIONS[vision.hidden_act], **sections}


def clip_config_of(model_config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of the CLIPModel that computes what `model_config` does; UserError with the reason if there is none.

    The opposite of model_config_of.
    """
    # Settings with an effect that differ from open_clip's defaults and that CLIPConfig does not have. (It does have
    # the pool_type eos of texts.)
    unknown = [key for key in ("multimodal_cfg", "init_logit_bias") if model_config.get(key) is not None]
    for section, default in (("vision_cfg", asdict(CLIPVisionCfg())), ("text_cfg", asdict(CLIPTextCfg()))):
        known = (*_FIELDS[section], *_CONVERTED, *_WITHOUT_EFFECT)
        for key, value in sorted(model_config[section].items()):
            if key not in known and value not in (default[key], "eos"):
                unknown.append(f"{section}.{key}")
    is_resnet = isinstance(model_config["vision_cfg"].get("layers"), (list, tuple))
    if is_resnet or unknown:
        reason = f"CLIPConfig has no setting for {', '.join(unknown)}"
        if is_resnet:
            reason = "its image tower is a ResNet, CLIPModel's is a vision transformer"
        problem = f"transformers' CLIPModel cannot express this model: {reason}"
        raise UserError(f"export: {problem}. Export safetensors or onnx instead.")
    sections: dict[str, dict[str, Any]] = {}
    for section, kind in (("vision_cfg", CLIPVisionCfg), ("text_cfg", CLIPTextCfg)):
        config: Any = kind(**model_config[section])
        sections[section] = {
            "hidden_act": "quick_gelu" if model_config.get("quick_gelu") else "gelu",
            "projection_dim": model_config["embed_dim"],
            **{theirs: getattr(config, name) for name, theirs in _FIELDS[section].items()},
            "intermediate_size": int(config.width * config.mlp_ratio),
            "layer_norm_eps": (config.norm_kwargs or {}).get("eps", 1e-5),
        }
        if section == "vision_cfg":
            side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
            sections[section] |= {"num_attention_heads": config.width // config.head_width, "image_size": side}
        else:
            sections[section]["eos_token_id"] = config.eos_id if config.pool_type == "eos" else _ARGMAX
    head = {"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": model_config["embed_dim"]}
    return {**head, "vision_config": sections["vision_cfg"], "text_config": sections["text_cfg"]}


def weights_from_transformers(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """CLIPModel's weights under open_clip's names: q, k and v concatenated, projections transposed.

    What CLIPModel does not have gets no name of open_clip's, so that comparing the weights with a model finds it.
    """
    weights: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        for theirs, ours in _NAMES:
            name = name.replace(theirs, ours)
        weights[name] = value.T if name in _PROJECTIONS else value
    for query in [name for name in weights if ".attn.q_proj." in name]:
        parts = [weights.pop(query.replace(".q_proj.", f".{part}_proj."), None) for part in _QKV]
        weights[query.replace(".q_proj.", ".in_proj_")] = torch.cat([part for part in parts if part is not None])
    return weights


def weights_to_transformers(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of an open_clip model with a vision transformer under CLIPModel's names.

    The opposite of weights_from_transformers.
    """
    weights: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        name = name.removeprefix("text.")  # of open_clip's CustomTextCLIP
        value = value.reshape(()) if name == "logit_scale" else value
        parts = {name: value.T if name in _PROJECTIONS else value}
        if ".attn.in_proj_" in name:
            names = [name.replace(".in_proj_", f".{part}_proj.") for part in _QKV]
            parts = dict(zip(names, value.chunk(3), strict=True))
        for part, piece in parts.items():
            for theirs, ours in _NAMES:
                part = part.replace(ours, theirs)
            weights[part] = piece.contiguous()
    return weights


def preprocess_in(folder: Path) -> dict[str, Any]:
    """open_clip's preprocess_cfg of the preprocessor_config.json in `folder`. Empty where there is none."""
    files = [folder / name for name in _PREPROCESSING_FILES if (folder / name).is_file()]
    if not files:
        return {}
    settings = read_json_object(files[0])
    settings = settings.get("image_processor", settings)
    size, resample = settings.get("size", {}), settings.get("resample", 3)
    squashed = isinstance(size, dict) and "height" in size
    resized, cropped = _shorter_side(size), _shorter_side(settings.get("crop_size"))
    if settings.get("do_center_crop", True) and resized and cropped and resized != cropped:
        problem = f"images are resized to {resized} and cropped to {cropped}, open_clip has one size for both"
        raise UserError(f"{files[0]}: {problem}. Write {cropped} for both, if the model may see more of an image.")
    normalized = settings.get("do_normalize", True)
    preprocess = {
        "mean": settings.get("image_mean") if normalized else [0.0, 0.0, 0.0],
        "std": settings.get("image_std") if normalized else [1.0, 1.0, 1.0],
        "interpolation": next((name for name, number in _RESAMPLE.items() if number == resample), None),
        "resize_mode": "squash" if squashed else "shortest",
    }
    return {key: value for key, value in preprocess.items() if value is not None}


def _shorter_side(size: Any) -> Any:
    """In pixels, of a size in preprocessor_config.json, which older files have as a number. None for none."""
    return size.get("shortest_edge", size.get("height")) if isinstance(size, dict) else size


def image_processor_settings(preprocess: Mapping[str, Any], side: int) -> dict[str, Any]:
    """Arguments of CLIPImageProcessor that equal open_clip's `preprocess` at `side` px. UserError if there are none."""
    square = {"height": side, "width": side}
    sizes = {
        "shortest": {"size": {"shortest_edge": side}, "do_center_crop": True, "crop_size": square},
        "squash": {"size": square, "do_center_crop": False},
    }
    mode, interpolation = preprocess["resize_mode"], preprocess["interpolation"]
    if mode not in sizes or interpolation not in _RESAMPLE:
        problem = f"resize_mode {mode!r} with interpolation {interpolation!r}"
        raise UserError(
            f"export: transformers' CLIPImageProcessor has no {problem}. Export safetensors or onnx instead."
        )
    return {
        **sizes[mode],
        "resample": _RESAMPLE[interpolation],
        "image_mean": list(preprocess["mean"]),
        "image_std": list(preprocess["std"]),
    }
