"""Which CLIPs can be used: architectures of open_clip that can be trained here, and what sound weights are.

Every model that is loaded passes `require_sound` (clip.model.as_clip).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP, set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from gift_core.artifacts.model_config import shape_fault
from gift_core.artifacts.model_folder import StoredTensor, read_header
from gift_core.errors import UserError, lookup

CLIP_VOCABULARY = 49408  # entries of the byte-pair vocabulary that open_clip ships
LARGEST_IMAGE = 4096  # px; the largest of open_clip's models has 512
# Preprocessing settings, other than the size, that belong to released weights.
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")
# s = exp(logit_scale) multiplies cosines. CLIP's training starts at 14.3 and is clamped at 100; SigLIP ends near 118.
SCALES = (1.0, 1000.0)
CHANNELS = 3
STDS = (1e-3, 1e3)  # pixels are 0-1 before the normalization
_CHOICES = {"interpolation": ("bicubic", "bilinear", "random"), "resize_mode": ("shortest", "longest", "squash")}
LARGEST_WEIGHT = 1e18  # the square of a larger float32 is infinite, so no feature has a length
REMEDY = "Fetch the model again, or train it with a lower learning rate."
_INTEGERS = ("num_batches_tracked", "position_ids", "attn_mask")  # counters and indices, which are no weights


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


def require_sound(model: torch.nn.Module, preprocess: Mapping[str, Any], location: str) -> None:
    """Raises UserError, which begins with `location`, for weights or a preprocessing that no feature can come from.

    `preprocess` is the preprocess_cfg of open_clip.
    """
    for name, value in model.state_dict().items():
        require_sound_numbers(value, name, location)
    scale = float(model.get_parameter("logit_scale").detach().double().exp())
    if not SCALES[0] <= scale <= SCALES[1]:
        low, high = (math.log(limit) for limit in SCALES)
        raise UserError(
            f"{location}: logit_scale is {math.log(scale) if 0 < scale < math.inf else scale:.4g}, expected {low:g} to "
            f"{high:.2f} (cosines are multiplied by its exponential: {SCALES[0]:g} to {SCALES[1]:g}). {REMEDY}"
        )
    problem = _preprocessing_problem(preprocess)
    if problem:
        raise UserError(f"{location}: preprocess_cfg: {problem}. Correct it beside the weights.")


def require_stored_as_weights(path: Path, model: torch.nn.Module, location: str) -> None:
    """Raises UserError if the file `path` has integers in place of weights, or another shape than `model` has.

    It also finds a missing logit_bias. For all three open_clip silently takes something else.
    """
    stored, own = _stored(path), model.state_dict()
    for name, tensor in stored.items():
        if not tensor.floating and not name.endswith(_INTEGERS):
            raise UserError(f"{location}: {path.name}: {name} has integers, expected floating-point weights. {REMEDY}")
        if name in own and tensor.shape != tuple(own[name].shape) and own[name].numel() != 1:
            found, expected = (" x ".join(map(str, shape)) for shape in (tensor.shape, own[name].shape))
            what = f"{name} is {found}, expected {expected}"
            raise UserError(f"{location}: {path.name}: {what}. Weights and configuration do not belong together.")
    if own.get("logit_bias") is not None and not any(name.endswith("logit_bias") for name in stored):
        raise UserError(f"{location}: {path.name}: logit_bias is missing. {REMEDY}")


def require_sound_numbers(value: torch.Tensor, name: str, location: str, remedy: str = REMEDY) -> None:
    """Raises UserError if numbers of the tensor called `name` are NaN, infinite or above LARGEST_WEIGHT.

    Extremes take a thirtieth of the time of comparing all numbers. A NaN makes both of them NaN.
    """
    if not value.is_floating_point() or not value.numel():
        return
    if not all(abs(float(extreme)) <= LARGEST_WEIGHT for extreme in torch.aminmax(value)):
        count = int((~(value.abs() <= LARGEST_WEIGHT)).sum())
        what = f"{count} of the {value.numel()} numbers of {name} are NaN, infinite or above {LARGEST_WEIGHT:g}"
        raise UserError(f"{location}: {what}. {remedy}")


def _stored(path: Path) -> Mapping[str, StoredTensor]:
    if path.suffix == ".safetensors":
        return read_header(path)
    values = torch.load(path, map_location="meta", weights_only=True)  # no memory for the numbers
    values = values.get("state_dict", values)
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    return {name: StoredTensor(tuple(value.shape), value.is_floating_point()) for name, value in tensors.items()}


def _preprocessing_problem(preprocess: Mapping[str, Any]) -> str | None:
    for key in ("mean", "std"):
        values = preprocess.get(key)
        if not isinstance(values, (list, tuple)) or len(values) != CHANNELS or not all(map(_is_finite, values)):
            return f"{key} should be {CHANNELS} finite numbers, one for each color, it is {values!r}"
    if not all(STDS[0] <= value <= STDS[1] for value in preprocess["std"]):
        return f"std should be from {STDS[0]:g} to {STDS[1]:g}, it is {preprocess['std']!r}"
    for key, known in _CHOICES.items():
        if (value := preprocess.get(key)) is not None and value not in known:
            return f"{key} should be {' or '.join(known)}, it is {value!r}"
    return None


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
