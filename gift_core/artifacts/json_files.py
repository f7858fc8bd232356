"""JSON artifacts: written the same way every time, read with an error that names the stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import broken, require_file, write_atomically


def write_json(path: Path, value: Any) -> None:
    """Writes `value` indented, keys in the order given, one newline at the end; NaN and infinities are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with write_atomically(path) as temporary:
        temporary.write_bytes(f"{text}\n".encode())


def read_json(path: Path, stage: str) -> dict[str, Any]:
    """Returns the JSON object; ContractError where the file is missing or is none. `stage` makes it again."""
    require_file(path, stage)
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise broken(path, f"it should be JSON, but {error}", stage) from error
    if not isinstance(value, dict):
        raise broken(path, f"it should be a JSON object, it is a {type(value).__name__}", stage)
    return value


def require_fields(path: Path, record: Any, fields: dict[str, type | tuple[type, ...]], stage: str) -> None:
    """Raises ContractError where `record` is no object, or a field of it is missing or of another type."""
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
