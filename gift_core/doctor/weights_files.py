"""How many numbers lie in weights on disk, read from their headers: nothing is loaded."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from gift_core.errors import ContractError

INDEX = "model_index.json"
_LENGTH = 8  # bytes before the header that say how long it is (https://huggingface.co/docs/safetensors)


def count_numbers(path: Path) -> int:
    """Returns how many numbers a safetensors file holds; ContractError where it is damaged or cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH)
        length = struct.unpack("<Q", start)[0] if len(start) == _LENGTH else 0
        try:
            header = json.loads(file.read(length)) if 0 < length < size else None
            tensors = [tensor for name, tensor in header.items() if name != "__metadata__"] if header else []
            end = _LENGTH + length + max((tensor["data_offsets"][1] for tensor in tensors), default=0)
        except (ValueError, KeyError, TypeError, AttributeError):
            header, end = None, 0
    if header is None or end != size:
        what = f"of {size:,} bytes, should be {end:,}" if header is not None else "its header is damaged"
        raise ContractError(f"{path}: no whole safetensors file: {what}. Fetch or make it again.")
    return sum(math.prod(tensor["shape"]) for tensor in tensors)


def pipeline_parameters(folder: Path) -> dict[str, int]:
    """Returns {part: parameters} of the parts of a diffusers folder that have weights.

    ContractError where model_index.json or a part's folder is missing, or a weights file is damaged. A part whose
    weights are pickles is counted by their bytes, as float32.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = f"{folder}: no diffusers pipeline, its {INDEX} cannot be read ({error})"
        raise ContractError(f"{what}. Restore the folder, or fetch it again.") from None
    parts = {name: part for name, part in index.items() if isinstance(part, list) and part[0] is not None}
    missing = [name for name in parts if not (folder / name).is_dir()]
    if missing:
        raise ContractError(f"{folder}: {', '.join(missing)}: named in {INDEX}, but not there. Fetch it again.")
    counts = {name: _part(folder / name) for name in parts}
    return {name: count for name, count in counts.items() if count}


def _part(folder: Path) -> int:
    """Of files that hold the same weights again (fp16, non_ema) the plain ones count."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [file for file in files if not {"fp16", "non_ema"} & set(file.name.split("."))] or files
    if plain:
        return sum(map(count_numbers, plain))
    return sum(file.stat().st_size for file in folder.glob("*.bin")) // 4
