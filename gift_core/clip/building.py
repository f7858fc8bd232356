"""An open_clip model from its configuration alone, with random weights: what weights from elsewhere are put into."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP, get_model_preprocess_cfg, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from gift_core.clip.model import Clip

# What the released weights of an architecture say about pictures, beside their size.
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")


def build_model(model_config: Mapping[str, Any], preprocess: Mapping[str, Any]) -> torch.nn.Module:
    """The model of `model_config` (open_clip's model_cfg) in float32, as open_clip's own factory puts it together.

    `preprocess` overrides open_clip's preprocessing; its size is always the image tower's. Nothing is fetched but the
    configuration of a Hugging Face text tower where there is one.
    """
    settings = copy.deepcopy(dict(model_config))
    settings["vision_cfg"]["timm_model_pretrained"] = False
    settings["text_cfg"]["hf_model_pretrained"] = False
    own_text = settings.pop("custom_text", False) or bool(settings["text_cfg"].get("hf_model_name"))
    kind = CLIP if not own_text else CoCa if "multimodal_cfg" in settings else CustomTextCLIP
    model: Any = kind(**settings)
    merged = merge_preprocess_dict(asdict(PreprocessCfg()), dict(preprocess))
    set_model_preprocess_cfg(model, merged | {"size": model.visual.image_size})
    built: torch.nn.Module = model
    return built


def build_empty(model_config: Mapping[str, Any]) -> torch.nn.Module:
    """The same on the meta device: names and shapes, no memory."""
    with torch.device("meta"):
        return build_model(model_config, {})


def preprocess_of(architecture: str) -> dict[str, Any]:
    """How the architecture's released weights want pictures prepared, as far as all of them agree.

    # differs: open_clip prepares pictures as OpenAI's CLIP does whenever weights come from a file, for SigLIP too.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    agreed = [key for key in _PREPROCESS_KEYS if len({json.dumps(config.get(key)) for config in configs}) == 1]
    return {key: configs[0][key] for key in agreed if configs[0].get(key) is not None}


def as_clip(
    model: torch.nn.Module,
    tokenizer: Callable[[list[str]], torch.Tensor],
    model_config: Mapping[str, Any],
    *,
    precision: str,
    tokenizer_files: tuple[Path, ...] = (),
    origin: Mapping[str, str] | None = None,
) -> Clip:
    """The model, in evaluation mode, with what belongs to it; its preprocessing is read off the model itself."""
    preprocess = json.loads(json.dumps(get_model_preprocess_cfg(model)))
    config = {"model_cfg": dict(model_config), "preprocess_cfg": preprocess}
    return Clip(model.eval(), tokenizer, config, precision, tokenizer_files, origin or {})
