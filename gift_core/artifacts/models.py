"""A model folder: open_clip's weights and configuration, tokenizer files, and provenance.json: where it came from."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import broken, require_file, sha256_of
from gift_core.artifacts.json_files import read_json, require_fields, write_json

WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"
PROVENANCE = "provenance.json"


def require_model_folder(folder: Path, stage: str) -> None:
    """Raises ContractError where the folder is no whole open_clip folder: a file missing, damaged or cut short.

    `stage` is the one that makes it again (import_model, finetune). Weights are not loaded.
    """
    if not folder.is_dir():
        raise broken(folder, "there should be a model folder", stage)
    record = read_json(folder / CONFIG, stage)
    require_fields(folder / CONFIG, record, {"model_cfg": dict, "preprocess_cfg": dict}, stage)
    _require_whole_safetensors(folder / WEIGHTS, stage)


def model_hash(folder: Path) -> str:
    """Returns the SHA-256 of the folder's weights file: the name by which other artifacts refer to the model."""
    require_file(folder / WEIGHTS, _stage_of(folder))
    return sha256_of(folder / WEIGHTS)


def write_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Writes provenance.json: what the model was made from and by what; no time, no machine, so it is byte-stable."""
    write_json(folder / PROVENANCE, dict(provenance))


def read_provenance(folder: Path) -> dict[str, Any]:
    """Returns provenance.json; ContractError where it is missing or no JSON object."""
    return read_json(folder / PROVENANCE, _stage_of(folder))


def _stage_of(folder: Path) -> str:
    return "import_model" if folder.name == "pretrained" else "finetune"


def _require_whole_safetensors(path: Path, stage: str) -> None:
    """Checks the file's length against its header, as laid out at https://huggingface.co/docs/safetensors."""
    require_file(path, stage)
    with path.open("rb") as file:
        start = file.read(8)
        header_size = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
        try:
            header = json.loads(file.read(header_size)) if 0 < header_size < path.stat().st_size else None
        except ValueError:
            header = None
    if not isinstance(header, dict):
        raise broken(path, "it should be a safetensors file, its header is damaged", stage)
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + header_size + max(ends, default=0)
    if path.stat().st_size != expected:
        raise broken(path, f"it should have {expected} bytes, it has {path.stat().st_size}: it was cut short", stage)
