"""What all artifacts share: hashes, JSON files, and the error for a bad file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gift_core.errors import ContractError
from gift_core.untrusted import parse_json, read_limited
from gift_core.work.partial import recover
from gift_core.work.publishing import write_atomically

READ_BYTES = 1 << 20
LONGEST = 1000  # characters that an error says about a file: a value in it may be of any length


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of the file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def broken(path: Path, expectation: str, stage: str) -> ContractError:
    """Returns the error for a bad artifact: the file, what was expected and found, the stage that makes it again."""
    if len(expectation) > LONGEST:
        expectation = f"{expectation[:LONGEST]}..."
    return ContractError(f"{path}: {expectation}. Recreate it with: dvc repro {stage}")


def require_file(path: Path, stage: str) -> None:
    """Raises ContractError if the file is missing. An interrupted writer's folder is put back first."""
    if not path.is_file():
        recover(path.parent)
    if not path.is_file():
        raise broken(path, "the file is missing", stage)


def require_hash(path: Path, expected: str, stage: str) -> None:
    """Raises ContractError if the file is missing or its SHA-256 is not `expected`, as noted when it was written."""
    require_file(path, stage)
    found = sha256_of(path)
    if found != expected:
        what = f"its sha256 should be {expected[:12]}..., it is {found[:12]}...: the file was changed"
        raise broken(path, what, stage)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` indented, keys in the order given, one newline at the end. ValueError for NaN and infinities."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with write_atomically(path) as temporary:
        temporary.write_bytes(f"{text}\n".encode())


def read_json(path: Path, stage: str) -> dict[str, Any]:
    """Returns the JSON object. ContractError if the file is missing or is not one. `stage` makes it again."""
    require_file(path, stage)
    return parse_json_object(read_limited(path), path, stage)


def parse_json_object(content: bytes, path: Path, stage: str) -> dict[str, Any]:
    """Returns the JSON object in the content of a file. ContractError, which names `path`, if it is none."""
    try:
        value = parse_json(content)
    except ValueError as error:
        raise broken(path, f"it should be JSON, but {error}", stage) from error
    if not isinstance(value, dict):
        raise broken(path, f"it should be a JSON object, it is a {type(value).__name__}", stage)
    return value


def require_fields(path: Path, record: Any, fields: dict[str, type | tuple[type, ...]], stage: str) -> None:
    """Raises ContractError if `record` is not an object, or a field of it is missing or has another type."""
    if not isinstance(record, dict):
        raise broken(path, f"it should be an object with {', '.join(fields)}, it is {record!r}", stage)
    for name, kind in fields.items():
        if name not in record:
            raise broken(path, f"there should be a field {name!r}; it has {', '.join(record) or 'none'}", stage)
        if not isinstance(record[name], kind):
            found = type(record[name]).__name__
            raise broken(path, f"{name!r} should be {_names(kind)}, it is {found} ({record[name]!r})", stage)


def _names(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(each.__name__ for each in kinds)
