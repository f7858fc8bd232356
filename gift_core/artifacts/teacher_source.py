"""source.json of a teacher's folder: the replay, the teacher, the environment, and hashes.

The stage finetune depends on this folder and not on the shards. source.json changes whenever they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import broken, read_json, require_fields, require_hash, sha256_of, write_json

STAGE = "teach"
SOURCE = "source.json"
_FIELDS: dict[str, type | tuple[type, ...]] = {"replay": str, "model": str, "read": dict, "files": dict}


def write_source(
    folder: Path,
    *,
    replay: str,
    read: Mapping[str, str],
    model: str = "",
    environment: Mapping[str, str | int] | None = None,
) -> None:
    """Writes source.json, last, with the SHA-256 of every other file in the folder.

    `read` maps what was read to its SHA-256, `model` identifies the teacher. Without replay both are empty and nothing
    is computed, so there is no environment, and the file never changes.
    """
    others = (path for path in sorted(folder.glob("*")) if path.name[0] != "." and path.name != SOURCE)
    files = {path.name: sha256_of(path) for path in others}
    computed = {} if environment is None else {"environment": dict(environment)}
    write_json(folder / SOURCE, {"replay": replay, "model": model, "read": dict(read), "files": files, **computed})


def read_source(folder: Path) -> dict[str, Any]:
    """Returns source.json. ContractError if it is missing or is not a JSON object."""
    return read_json(folder / SOURCE, STAGE)


def require_source(folder: Path, *, replay: str, read: Mapping[str, str], model: str) -> None:
    """Raises ContractError unless the folder is for this replay, from this teacher and this data, and unchanged."""
    path = folder / SOURCE
    record = read_json(path, STAGE)
    require_fields(path, record, _FIELDS, STAGE)
    if record["replay"] != replay:
        raise broken(path, f"it should be for replay of {replay!r}, it is for {record['replay']!r}", STAGE)
    if record["model"] != model:
        what = f"the teacher should be the model {_short(model)}, it is {_short(record['model'])}"
        raise broken(path, f"{what}: the features are of another model", STAGE)
    for name in sorted({*read, *record["read"]}):
        expected, found = (_short(hashes.get(name, "none")) for hashes in (read, record["read"]))
        if expected != found:
            raise broken(path, f"{name} should have sha256 {expected}, the teacher read {found}", STAGE)
    for name, digest in record["files"].items():
        require_hash(folder / name, digest, STAGE)


def _short(identity: str) -> str:
    """Cuts hashes to 12 digits; a mixed teacher has two in its identity."""
    return " ".join(f"{word[:12]}..." if len(word) == 64 else word for word in identity.split()) or "none"
