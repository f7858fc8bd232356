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
    """Writes the diagonals sorted by name."""
    note = json.dumps({"estimator": fisher.estimator, "model": fisher.model}, sort_keys=True)
    tensors = {name: np.ascontiguousarray(fisher.diagonals[name]) for name in sorted(fisher.diagonals)}
    with write_atomically(path) as temporary:
        temporary.write_bytes(save(tensors, {KEY: note}))


def read_fisher(path: Path) -> Fisher:
    """Returns the diagonals. ContractError if the file is missing or damaged."""
    require_file(path, STAGE)
    try:
        with safe_open(path, framework="np") as file:
            note = json.loads((file.metadata() or {})[KEY])
            diagonals = {name: file.get_tensor(name) for name in sorted(file.keys())}
            return Fisher(diagonals, note["estimator"], note["model"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        what = f"it should be safetensors with an estimator and a model in its metadata ({error!r})"
        raise broken(path, what, STAGE) from error
