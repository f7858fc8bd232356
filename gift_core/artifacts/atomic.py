"""Files and folders that are written whole or not at all, JSON files, and checks that all artifacts share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gift_core.errors import ContractError, UserError
from gift_core.untrusted import parse_json

READ_BYTES = 1 << 20


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling file to write. It replaces `path` when the block succeeds, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_siblings(path)
    temporary = _temporary_sibling(path)
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def build_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling folder to fill. It replaces `path` when the block succeeds, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_siblings(path)
    temporary = _temporary_sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free_bytes(path: Path, needed: int, purpose: str) -> None:
    """Raises UserError if the disk of `path` (which need not exist yet) has fewer than `needed` bytes free.

    `purpose` begins the message: what needs the space, such as "ingest birds".
    """
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{purpose}: {_readable(needed)} are needed in {path}, but only {_readable(free)} are free. "
            "Free some space there, or ask for less."
        )


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


def require_hash(path: Path, expected: str, stage: str) -> None:
    """Raises ContractError if the file is missing or its SHA-256 is not `expected`, as noted when it was written."""
    require_file(path, stage)
    found = sha256_of(path)
    if found != expected:
        what = f"its sha256 should be {expected[:12]}..., it is {found[:12]}...: the file was changed"
        raise broken(path, what, stage)


def _temporary_sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _remove_stale_siblings(path: Path) -> None:
    """Removes what killed writers of `path` left behind. Temporary files of processes that still run stay."""
    for stale in sorted(path.parent.glob(f".{path.name}.*.partial")):
        writer = stale.name.removesuffix(".partial").rpartition(".")[2]
        if writer.isdigit() and int(writer) != os.getpid() and _is_running(int(writer)):
            continue
        if stale.is_dir():
            shutil.rmtree(stale)
        else:
            stale.unlink()


def _is_running(process: int) -> bool:
    if os.name == "nt":  # on Windows signal 0 is Ctrl+C, and open files cannot be removed anyway
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _replace_folder(new: Path, path: Path) -> None:
    """Renames the old folder first, because a folder cannot be replaced in one call."""
    if not path.exists():
        new.rename(path)
        return
    old = path.with_name(f".{path.name}.old.{os.getpid()}.partial")
    path.rename(old)
    new.rename(path)
    shutil.rmtree(old)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _readable(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def write_json(path: Path, value: Any) -> None:
    """Writes `value` indented, keys in the order given, one newline at the end. ValueError for NaN and infinities."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with write_atomically(path) as temporary:
        temporary.write_bytes(f"{text}\n".encode())


def read_json(path: Path, stage: str) -> dict[str, Any]:
    """Returns the JSON object. ContractError if the file is missing or is not one. `stage` makes it again."""
    require_file(path, stage)
    try:
        value = parse_json(path.read_bytes())
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
