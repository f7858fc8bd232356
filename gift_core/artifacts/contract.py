"""What all artifacts share: hashes, JSON files, and the error for a bad file. A reader checks, a writer does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gift_core.errors import ContractError
from gift_core.work.publishing import write_atomically

A = TypeVar("A")
READ_BYTES = 1 << 20
SHOWN = 60  # characters of a wrong value


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of the file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def broken(path: Path, expectation: str, stage: str) -> ContractError:
    """Returns the error for a bad artifact: the file, what was expected and found, the stage that makes it again."""
    return ContractError(f"{path}: {expectation}. Recreate it with: dvc repro {stage}")


def require_file(path: Path, stage: str) -> None:
    """Raises ContractError if the file is missing."""
    if not path.is_file():
        raise broken(path, "the file is missing", stage)


def require_hashes(folder: Path, hashes: Mapping[str, str], stage: str) -> None:
    """Raises ContractError if a file is missing or has another SHA-256 than was noted: {name in the folder: hash}."""
    for name, expected in hashes.items():
        require_file(folder / name, stage)
        found = sha256_of(folder / name)
        if found != expected:
            what = f"its sha256 should be {expected[:12]}..., it is {found[:12]}...: the file was changed"
            raise broken(folder / name, what, stage)


def read(kind: type[A], path: Path, stage: str) -> A:
    """Returns the content of a JSON file. `kind`: a pydantic model, a dataclass or a type of plain values.

    ContractError if the file is missing or has another content. `stage` makes it again.
    """
    require_file(path, stage)
    return parse(kind, path.read_bytes(), path, stage)


def parse(kind: type[A], content: bytes | str, path: Path, stage: str) -> A:
    """Returns the content of a JSON file, as `read` does. ContractError names `path`."""
    try:
        return TypeAdapter(kind).validate_json(content, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        what = fault["msg"].removeprefix("Value error, ").rstrip(".")
        if fault["type"] != "json_invalid":
            at, value = ".".join(map(str, fault["loc"])), ascii(fault["input"])
            what = f"{f'{at}: ' if at else ''}{what}; found {value[:SHOWN]}{'...' if value[SHOWN:] else ''}"
        raise broken(path, what, stage) from error


def write_json(path: Path, value: Any) -> None:
    """Writes `value` indented, keys in the order given, one newline at the end. ValueError for NaN and infinities."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with write_atomically(path) as temporary:
        temporary.write_bytes(f"{text}\n".encode())
