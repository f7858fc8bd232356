"""source.json of a teacher's folder: the replay, the teacher, the environment, and hashes.

The stage finetune depends on this folder and not on the shards. source.json changes whenever they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from gift_core.artifacts.contract import read, require_hashes, sha256_of, write_json

STAGE = "teach"
SOURCE = "source.json"


class Source(BaseModel):
    """The content of source.json. `read` maps what was read to its SHA-256, `model` identifies the teacher.

    `files`: the SHA-256 of every other file in the folder. Without replay, `read` and `model` are empty and nothing is
    computed, so there is no environment, and the file never changes.
    """

    replay: str
    model: str
    read: dict[str, str]
    files: dict[str, str]
    environment: dict[str, str | int] | None = None


def write_source(
    folder: Path,
    *,
    replay: str,
    read: Mapping[str, str],
    model: str = "",
    environment: Mapping[str, str | int] | None = None,
) -> None:
    """Writes source.json, after every other file of the folder."""
    others = (path for path in sorted(folder.glob("*")) if path.name[0] != "." and path.name != SOURCE)
    files = {path.name: sha256_of(path) for path in others}
    computed = {} if environment is None else {"environment": dict(environment)}
    write_json(folder / SOURCE, {"replay": replay, "model": model, "read": dict(read), "files": files, **computed})


def read_source(folder: Path) -> Source:
    """Returns the content of source.json. ContractError if it is missing or has another content."""
    return read(Source, folder / SOURCE, STAGE)


def require_unchanged(folder: Path) -> None:
    """Raises ContractError unless the folder has the files that were written, by their hashes in source.json."""
    require_hashes(folder, read_source(folder).files, STAGE)
