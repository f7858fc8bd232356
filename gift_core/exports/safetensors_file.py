"""One safetensors file that holds a whole model: weights, configuration, tokenizer (clip.one_file says how)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import build_folder
from gift_core.artifacts.model_folder import write_provenance
from gift_core.checkpoints.one_file import save_one_file
from gift_core.clip.model import Clip

NAME = "model.safetensors"


def export_safetensors(clip: Clip, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write model.safetensors; `local-file:<folder>/model.safetensors` is the name by which it is loaded again."""
    with build_folder(folder) as unfinished:
        save_one_file(clip, unfinished / NAME, provenance)
        write_provenance(unfinished, provenance)
