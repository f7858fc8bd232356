"""How pictures are prepared, in transformers' words (preprocessor_config.json) and in open_clip's (preprocess_cfg)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.checkpoints.containers import read_config
from gift_core.errors import UserError

_FILES = ("processor_config.json", "preprocessor_config.json")
_RESAMPLE = {"bicubic": 3, "bilinear": 2, "nearest": 0}  # Pillow's numbers


def preprocess_beside(path: Path) -> dict[str, Any]:
    """What a preprocessor_config.json in the folder (or beside the file) says, as open_clip's preprocess_cfg.

    Empty where there is none.
    """
    folder = path if path.is_dir() else path.parent
    found = [folder / name for name in _FILES if (folder / name).is_file()]
    if not found:
        return {}
    settings = read_config(found[0])
    settings = settings.get("image_processor", settings)
    size = settings.get("size", {})
    squashed = isinstance(size, dict) and "height" in size
    said = {
        "mean": settings.get("image_mean"),
        "std": settings.get("image_std"),
        "interpolation": {number: name for name, number in _RESAMPLE.items()}.get(settings.get("resample", 3)),
        "resize_mode": "squash" if squashed else "shortest",
    }
    return {key: value for key, value in said.items() if value is not None}


def image_processor_settings(preprocess: Mapping[str, Any], side: int) -> dict[str, Any]:
    """Arguments of CLIPImageProcessor for open_clip's `preprocess` at `side` px; UserError where none do."""
    square = {"height": side, "width": side}
    sizes = {
        "shortest": {"size": {"shortest_edge": side}, "do_center_crop": True, "crop_size": square},
        "squash": {"size": square, "do_center_crop": False},
    }
    mode, interpolation = preprocess["resize_mode"], preprocess["interpolation"]
    if mode not in sizes or interpolation not in _RESAMPLE:
        what = f"resize_mode {mode!r} with interpolation {interpolation!r}"
        raise UserError(f"export: transformers' CLIPImageProcessor has no {what}. Export onnx instead.")
    return {
        **sizes[mode],
        "resample": _RESAMPLE[interpolation],
        "image_mean": list(preprocess["mean"]),
        "image_std": list(preprocess["std"]),
    }
