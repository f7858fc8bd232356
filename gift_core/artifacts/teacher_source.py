"""source.json of a teacher's folder: which replay the folder is for, the hashes of what was read, the environment.

The stage finetune depends on this folder and not on the shards. source.json changes whenever they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import read_json, sha256_of, write_json

STAGE = "teach"
SOURCE = "source.json"


def write_source(
    folder: Path, *, replay: str, read: Mapping[str, str], environment: Mapping[str, str | int] | None = None
) -> None:
    """Writes source.json; `read` maps what was read to its SHA-256.

    Without replay nothing is computed, so there is no environment, and the file never changes.
    """
    computed = {} if environment is None else {"environment": dict(environment)}
    write_json(folder / SOURCE, {"replay": replay, "read": dict(read), **computed})


def read_source(folder: Path) -> dict[str, Any]:
    """Returns source.json. ContractError if it is missing or is not a JSON object."""
    return read_json(folder / SOURCE, STAGE)


def hash_teacher(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file in a teacher's folder, by name; empty if there is no folder."""
    return {file.name: sha256_of(file) for file in sorted(folder.glob("*")) if file.is_file()}
