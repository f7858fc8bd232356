"""Architectures of open_clip: which of them can be trained here, and models of them with random weights."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from gift_core.artifacts.model_config import shape_fault
from gift_core.errors import UserError, lookup

CLIP_VOCABULARY = 49408  # entries of the byte-pair vocabulary that open_clip ships
LARGEST_IMAGE = 4096  # px; the largest of open_clip's models has 512
# Preprocessing settings, other than the size, that belong to released weights.
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")


def architecture_config(name: str) -> tuple[str, dict[str, Any]]:
    """(open_clip's spelling of `name`, its model_cfg). ViT-B/16 is accepted for ViT-B-16.

    UserError for an unknown name, and for an architecture that cannot be trained here, with the reason.
    """
    known = {each: each for each in open_clip.list_models()}
    architecture = lookup(known, name.replace("/", "-"), "model.name (architecture)")
    config: dict[str, Any] = open_clip.get_model_config(architecture)
    require_supported(config, f"model.name {name!r}")
    return architecture, config


def require_supported(model_config: Mapping[str, Any], location: str) -> None:
    """Raises UserError if the stages cannot use a model of `model_config` (open_clip's model_cfg)."""
    reason = unsupported_reason(model_config)
    if reason:
        raise UserError(f"{location}: not supported: {reason}. See docs/models.md for what is.")


def unsupported_reason(model_config: Mapping[str, Any]) -> str | None:
    """Why the stages cannot use a model of `model_config`, None where they can.

    They need one feature per image and per text, square images, and a published tokenizer. CoCa's caption decoder and
    SigLIP's logit bias stay unchanged.
    """
    reason = shape_fault(model_config)
    if reason:
        return reason
    reasons = (check(model_config) for check in _CHECKS)
    return next((reason for reason in reasons if reason), None)


def build_model(model_config: Mapping[str, Any], preprocess: Mapping[str, Any]) -> torch.nn.Module:
    """A model of `model_config` (open_clip's model_cfg) with random float32 weights, as open_clip's factory builds it.

    `preprocess` overrides open_clip's preprocessing, except for the size, which is the image tower's. Nothing is
    downloaded except the configuration of a Hugging Face text tower. UserError for settings that do not fit each other.
    """
    try:
        return _build_model(model_config, preprocess)
    except (TypeError, ValueError, LookupError, ArithmeticError, AssertionError, AttributeError, RuntimeError) as error:
        what = f"open_clip cannot build a model of it ({' '.join(str(error).split())[:200]})"
        raise UserError(f"model_cfg: {what}. Correct the configuration, or fetch the model again.") from error


def _build_model(model_config: Mapping[str, Any], preprocess: Mapping[str, Any]) -> torch.nn.Module:
    settings = copy.deepcopy(dict(model_config))
    settings["vision_cfg"]["timm_model_pretrained"] = False
    settings["text_cfg"]["hf_model_pretrained"] = False
    custom_text = settings.pop("custom_text", False) or bool(settings["text_cfg"].get("hf_model_name"))
    kind = CLIP if not custom_text else CoCa if "multimodal_cfg" in settings else CustomTextCLIP
    model: Any = kind(**settings)
    merged = merge_preprocess_dict(asdict(PreprocessCfg()), dict(preprocess))
    set_model_preprocess_cfg(model, merged | {"size": model.visual.image_size})
    built: torch.nn.Module = model
    return built


def build_empty(model_config: Mapping[str, Any]) -> torch.nn.Module:
    """The model of `model_config` on the meta device: names and shapes without memory."""
    with torch.device("meta"):
        return build_model(model_config, {})


def preprocess_of(architecture: str) -> dict[str, Any]:
    """The preprocessing settings that all released weights of the architecture share.

    # differs: open_clip uses the preprocessing of OpenAI's CLIP for all weights from files, also for SigLIP.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    shared = [key for key in _PREPROCESS_KEYS if len({json.dumps(config.get(key)) for config in configs}) == 1]
    return {key: configs[0][key] for key in shared if configs[0].get(key) is not None}


def _without_possible_size(config: Mapping[str, Any]) -> str | None:
    size = config["vision_cfg"].get("image_size", 224)
    sides = size if isinstance(size, (list, tuple)) and len(size) == 2 else [size]
    if all(type(side) is int and 1 <= side <= LARGEST_IMAGE for side in sides):
        return None
    return f"its image size is {size!r}, expected 1 to {LARGEST_IMAGE} px"


def _without_square(config: Mapping[str, Any]) -> str | None:
    size = config["vision_cfg"].get("image_size", 224)
    if isinstance(size, int) or (len(size) == 2 and size[0] == size[1]):
        return None
    return f"its images are {size[0]} x {size[1]} px, crops here are squares"


def _without_tokenizer(config: Mapping[str, Any]) -> str | None:
    text = config["text_cfg"]
    entries = text.get("vocab_size", CLIP_VOCABULARY)
    if text.get("hf_model_name") or text.get("hf_tokenizer_name") or entries == CLIP_VOCABULARY:
        return None
    return f"its vocabulary has {entries} entries, and open_clip names no tokenizer for it"


_CHECKS: tuple[Callable[[Mapping[str, Any]], str | None], ...] = (
    _without_possible_size,
    _without_square,
    _without_tokenizer,
)
