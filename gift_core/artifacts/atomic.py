"""Files and folders that appear whole or not at all, and the checks every artifact shares."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gift_core.errors import ContractError, UserError

READ_BYTES = 1 << 20


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling to write; it replaces `path` when the block ends well, and is removed otherwise."""
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
    """Yields a temporary sibling folder to fill; it becomes `path` (replacing it) only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_siblings(path)
    temporary = _temporary_sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free_bytes(path: Path, needed: int, place: str) -> None:
    """Raises UserError where the disk that holds (or will hold) `path` has fewer than `needed` bytes free."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{place}: {_readable(needed)} are needed in {path}, but only {_readable(free)} are free. "
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
    """Returns the error for a bad artifact: which file, what was expected, which stage makes it again."""
    return ContractError(f"{path}: {expectation}. Re-make it with: dvc repro {stage}")


def require_file(path: Path, stage: str) -> None:
    """Raises ContractError where the artifact's file is missing."""
    if not path.is_file():
        raise broken(path, "there should be a file", stage)


def require_hash(path: Path, expected: str, stage: str) -> None:
    """Raises ContractError where the file is missing or its SHA-256 is not the one noted when it was written."""
    require_file(path, stage)
    found = sha256_of(path)
    if found != expected:
        raise broken(path, f"its sha256 should be {expected[:12]}..., it is {found[:12]}...: the file changed", stage)


def _temporary_sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _remove_stale_siblings(path: Path) -> None:
    """Removes what writers of `path` that were killed left behind; the half-written work of living ones stays."""
    for stale in sorted(path.parent.glob(f".{path.name}.*.partial")):
        writer = stale.name.removesuffix(".partial").rpartition(".")[2]
        if writer.isdigit() and int(writer) != os.getpid() and _is_running(int(writer)):
            continue
        if stale.is_dir():
            shutil.rmtree(stale)
        else:
            stale.unlink()


def _is_running(process: int) -> bool:
    if os.name == "nt":  # there signal 0 is no question but Ctrl+C; open files there cannot be removed anyway
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _replace_folder(new: Path, path: Path) -> None:
    """A folder cannot be replaced in one call, so the old one steps aside first."""
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
