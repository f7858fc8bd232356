"""The settings of transformers' CLIPConfig as open_clip's model_cfg, and back, with what cannot be said in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from gift_core.errors import UserError

ACTIVATIONS = {"quick_gelu": True, "gelu": False}  # hidden_act -> open_clip's quick_gelu
_ARGMAX = 2  # the eos_token_id by which CLIPTextModel reads the feature at the largest token
# Settings that CLIPConfig has a word for, and those that change no feature.
_SAYABLE_VISION = ("layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "norm_kwargs")
_SAYABLE_TEXT = ("layers", "width", "heads", "mlp_ratio", "context_length", "vocab_size", "norm_kwargs")
_IDLE = ("patch_dropout", "timm_model_pretrained", "hf_model_pretrained", "hf_tokenizer_name", "tokenizer_kwargs",
         "pool_type", "eos_id", "pad_id", "output_tokens")  # fmt: skip


def model_config_of(config: Mapping[str, Any], place: str) -> dict[str, Any]:
    """open_clip's model_cfg of a config.json of model_type clip; UserError for what open_clip has no tower for."""
    from transformers import CLIPConfig

    if config.get("model_type") != "clip":
        found = config.get("model_type")
        raise UserError(f"{place}: model_type is {found!r}, expected 'clip'. Only transformers' CLIPModel is imported.")
    whole = CLIPConfig.from_dict(dict(config))
    vision, text = whole.vision_config, whole.text_config
    quick = {_activation(tower.hidden_act, place) for tower in (vision, text)}
    if len(quick) > 1 or vision.layer_norm_eps != text.layer_norm_eps:
        raise UserError(f"{place}: its two towers differ in hidden_act or layer_norm_eps, open_clip's cannot.")
    norm = {"norm_kwargs": {"eps": vision.layer_norm_eps}} if vision.layer_norm_eps != 1e-5 else {}
    return {
        "embed_dim": whole.projection_dim,
        "quick_gelu": quick.pop(),
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.num_hidden_layers,
            "width": vision.hidden_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
            "patch_size": vision.patch_size,
            **norm,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
            **_pooling(text.eos_token_id, text.vocab_size),
            **norm,
        },
    }


def clip_config_of(model_config: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json of a CLIPModel that computes what `model_config` does; UserError with a reason where none can."""
    reason = inexpressible(model_config)
    if reason:
        raise UserError(f"export: transformers' CLIPModel cannot express this model: {reason}. Export onnx instead.")
    vision = CLIPVisionCfg(**model_config["vision_cfg"])
    text = CLIPTextCfg(**model_config["text_cfg"])
    size = model_config["embed_dim"]
    shared = {"hidden_act": "quick_gelu" if model_config.get("quick_gelu") else "gelu", "projection_dim": size}
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": size,
        "vision_config": shared
        | {
            "hidden_size": vision.width,
            "intermediate_size": int(vision.width * vision.mlp_ratio),
            "num_hidden_layers": vision.layers,
            "num_attention_heads": vision.width // vision.head_width,
            "image_size": vision.image_size if isinstance(vision.image_size, int) else vision.image_size[0],
            "patch_size": vision.patch_size,
            "layer_norm_eps": (vision.norm_kwargs or {}).get("eps", 1e-5),
        },
        "text_config": shared
        | {
            "hidden_size": text.width,
            "intermediate_size": int(text.width * text.mlp_ratio),
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "max_position_embeddings": text.context_length,
            "vocab_size": text.vocab_size,
            "layer_norm_eps": (text.norm_kwargs or {}).get("eps", 1e-5),
            "eos_token_id": text.eos_id if text.pool_type == "eos" else _ARGMAX,
        },
    }


def inexpressible(model_config: Mapping[str, Any]) -> str | None:
    """Why transformers' CLIPModel cannot be such a model, None where it can."""
    vision, text = model_config["vision_cfg"], model_config["text_cfg"]
    if "multimodal_cfg" in model_config:
        return "it has a caption decoder (CoCa)"
    if model_config.get("init_logit_bias") is not None:
        return "it has a logit bias (SigLIP)"
    if text.get("hf_model_name"):
        return f"its text tower is {text['hf_model_name']}"
    if vision.get("timm_model_name"):
        return f"its image tower is timm's {vision['timm_model_name']}"
    if isinstance(vision.get("layers"), (list, tuple)):
        return "its image tower is a ResNet, CLIPModel's is a vision transformer"
    if text.get("pool_type", "argmax") not in ("argmax", "eos"):
        return f"its text feature is read by pool_type {text['pool_type']!r}"
    unsaid = [f"vision_cfg.{name}" for name in _unsaid(CLIPVisionCfg, vision, _SAYABLE_VISION)]
    unsaid += [f"text_cfg.{name}" for name in _unsaid(CLIPTextCfg, text, _SAYABLE_TEXT)]
    return f"CLIPConfig has no word for {', '.join(unsaid)}" if unsaid else None


def _unsaid(kind: Any, settings: Mapping[str, Any], sayable: tuple[str, ...]) -> list[str]:
    """Settings that differ from open_clip's defaults and are neither sayable nor idle."""
    defaults = asdict(kind())
    return sorted(key for key, value in settings.items() if key not in sayable + _IDLE and value != defaults[key])


def _activation(name: str, place: str) -> bool:
    if name not in ACTIVATIONS:
        raise UserError(f"{place}: hidden_act {name!r}; open_clip has {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def _pooling(end_token: int, entries: int) -> dict[str, Any]:
    if end_token in (_ARGMAX, entries - 1):
        return {}
    return {"pool_type": "eos", "eos_id": end_token}
