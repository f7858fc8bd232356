"""The work folder of an interrupted finetune, evaluate or teach, under a key made of all that decides the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.atomic import sha256_of
from gift_core.artifacts.model_folder import LOSSES, PROVENANCE, WEIGHTS
from gift_core.fingerprint import CodeBase
from gift_core.provenance import environment
from gift_core.work_folder import work_folder

from .stage import Stage

if TYPE_CHECKING:
    import torch

COMMANDS = Path(__file__).resolve().parent


def unfinished(stage: Stage, device: torch.device, inputs: Mapping[str, Any]) -> AbstractContextManager[Path]:
    """Owns and yields the stage's work folder. What is in it was left by a run that would have had the same result.

    `inputs` are the settings and the hashes of what the stage reads. The rest of the key is the code, read now and not
    from data/code, which may be older, the precision, and the environment.
    """
    decides = {
        "inputs": inputs,
        "code": code_of(stage.stage),
        "precision": stage.config.model.precision,
        "environment": environment(device),
    }
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
    return work_folder(stage.layout.work(stage.stage, stage.name), key)


@cache
def code_of(stage: str) -> dict[str, str]:
    """Returns the fingerprint of the code that the stage runs, as this process found it first (0.2 s)."""
    code = CodeBase.that_runs(COMMANDS)
    return code.fingerprint(code.commands / f"{stage}.py")


def hashes_below(folder: Path) -> dict[str, str]:
    """Returns {file: SHA-256} of the files in `folder`, none if there is no folder.

    The weights of a model are left out, since they are large and model_hash has theirs, and so is what does not
    influence a run that starts from the model: its provenance and losses.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in files
        if path.name not in (WEIGHTS, PROVENANCE, LOSSES)
    }
