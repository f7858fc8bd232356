"""fisher.safetensors: the diagonal Fisher information of a model, one tensor per parameter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gift_core.artifacts.contract import broken, require_file
from gift_core.untrusted import parse_json
from gift_core.work.publishing import write_atomically

STAGE = "teach"
FISHER = "fisher.safetensors"
KEY = "fisher"  # one key only: safetensors writes several keys in an order that changes from run to run
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Fisher:
    """Diagonals by parameter name (>= 0, in the parameter's shape), the estimator's name and the model's SHA-256."""

    diagonals: Mapping[str, Floats]
    estimator: str
    model: str


def write_fisher(path: Path, fisher: Fisher) -> None:
    """Writes the diagonals sorted by name. ContractError unless they are float32, finite and >= 0."""
    _require_sound(path, fisher)
    note = json.dumps({"estimator": fisher.estimator, "model": fisher.model}, sort_keys=True)
    tensors = {name: np.ascontiguousarray(fisher.diagonals[name]) for name in sorted(fisher.diagonals)}
    with write_atomically(path) as unfinished:
        unfinished.write_bytes(save(tensors, {KEY: note}))


def read_fisher(path: Path) -> Fisher:
    """Returns the diagonals. ContractError if the file is missing, damaged, or has no estimator or model noted."""
    require_file(path, STAGE)
    try:
        with safe_open(path, framework="np") as file:
            note = parse_json((file.metadata() or {})[KEY])
            fisher = Fisher({name: file.get_tensor(name) for name in sorted(file.keys())}, **note)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise broken(
            path, f"it should be safetensors with an estimator and a model in its metadata ({error!r})", STAGE
        ) from error
    _require_sound(path, fisher)
    return fisher


def _require_sound(path: Path, fisher: Fisher) -> None:
    if not fisher.diagonals or not fisher.estimator or not fisher.model:
        raise broken(path, "there should be diagonals, the estimator's name and the model's hash", STAGE)
    for name, values in fisher.diagonals.items():
        if values.dtype != np.float32:
            raise broken(path, f"{name} should be float32, it is {values.dtype}", STAGE)
        if not np.isfinite(values).all() or (values < 0).any():
            raise broken(path, f"{name} should hold finite numbers >= 0", STAGE)
