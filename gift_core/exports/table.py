"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gift_core.clip.model import Clip
from gift_core.errors import lookup
from gift_core.exports.onnx_graphs import export_onnx
from gift_core.exports.safetensors_file import export_safetensors
from gift_core.exports.transformers_folder import export_transformers

Export = Callable[[Clip, Path, Mapping[str, Any]], None]

EXPORTS: dict[str, Export] = {
    "transformers": export_transformers,
    "onnx": export_onnx,
    "safetensors": export_safetensors,
}


def export_clip(clip: Clip, folder: Path, *, to: str, provenance: Mapping[str, Any]) -> list[Path]:
    """Write `clip` into `folder` in the format called `to`; returns the files, sorted.

    The folder appears only when it is complete. `provenance` lies in it as provenance.json. UserError for an unknown
    format, and for a model that the format cannot express.
    """
    lookup(EXPORTS, to, "export --to")(clip, folder, provenance)
    return sorted(path for path in folder.iterdir() if path.is_file())
