"""What a CLIP must be to be used: finite floating-point weights of its own shapes, a possible temperature, and a
preprocessing that gives numbers. Every model that is loaded passes here (clip.model.as_clip)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gift_core.artifacts.safetensors_files import StoredTensor, read_header
from gift_core.errors import UserError

# s = exp(logit_scale) multiplies cosines. CLIP's training starts at 14.3 and is clamped at 100; SigLIP ends near 118.
SCALES = (1.0, 1000.0)
CHANNELS = 3
STDS = (1e-3, 1e3)  # pixels are 0-1 before the normalization
_CHOICES = {"interpolation": ("bicubic", "bilinear", "random"), "resize_mode": ("shortest", "longest", "squash")}
REMEDY = "Fetch the model again, or train it with a lower learning rate."
_INTEGERS = ("num_batches_tracked", "position_ids", "attn_mask")  # counters and indices, which are no weights


def require_sound(model: torch.nn.Module, preprocess: Mapping[str, Any], location: str) -> None:
    """Raises UserError, which begins with `location`, for weights or a preprocessing that no feature can come from.

    `preprocess` is the preprocess_cfg of open_clip.
    """
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not _all_finite(value):
            count = int((~value.isfinite()).sum())
            what = f"{count} of the {value.numel()} numbers of {name} are NaN or infinite"
            raise UserError(f"{location}: {what}. {REMEDY}")
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


def _all_finite(value: torch.Tensor) -> bool:
    """Extremes take a thirtieth of the time of value.isfinite().all(); a NaN makes both of them NaN."""
    return not value.numel() or all(bool(extreme.isfinite()) for extreme in torch.aminmax(value))


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
