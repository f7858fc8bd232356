"""A folder for unfinished work, with one owner at a time. Interrupted stages resume from it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gift_core.errors import UserError

WAIT_SECONDS = 10.0  # an owner whose parent was killed ends within this time


@contextmanager
def work_folder(base: Path, key: str, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[Path]:
    """Yields `base`/`key`, owned by this process, with what an interrupted run of the same `key` left there.

    `key` is a hash of everything that decides the result. Work for other keys is removed. When the block succeeds, the
    folder is removed: publish the result within the block. When it fails, the folder stays: check what you find in it.
    A KeyboardInterrupt gets an argument that says so. UserError if another process owns `base` for longer than
    `wait_seconds`. The operating system releases the lock of a process that was killed.
    """
    base.parent.mkdir(parents=True, exist_ok=True)
    with _owned(base, wait_seconds):
        folder = base / key
        folder.mkdir(parents=True, exist_ok=True)
        for other in sorted(base.iterdir()):
            if other != folder:
                shutil.rmtree(other) if other.is_dir() and not other.is_symlink() else other.unlink()
        try:
            yield folder
        except KeyboardInterrupt as interruption:
            if any(folder.iterdir()):
                interruption.args += (f"What is finished is kept in {base}, and the next run continues from there.",)
            raise
        shutil.rmtree(base)


@contextmanager
def _owned(base: Path, wait_seconds: float) -> Iterator[None]:
    """Holds the lock file next to `base`, never in it: the folder is removed while the lock is held."""
    lock = FileLock(base.with_name(f"{base.name}.lock"))
    note = base.with_name(f"{base.name}.owner.json")
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise UserError(f"{base}: {_owner(note)}.") from None
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        note.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": started}) + "\n")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _owner(note: Path) -> str:
    try:
        owner = json.loads(note.read_text())
        pid, host, started = owner["pid"], owner["host"], owner["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return "another process works on it. Wait until it ends"
    where = "" if host == socket.gethostname() else f" on {host}"
    stop = f"Wait until it ends, or stop it{where} with: kill {pid}"
    return f"process {pid} on {host} has worked on it since {started}. {stop}"


def owner_of(base: Path) -> str:
    """Returns a sentence about the process that owns `base` now, an empty text if there is none."""
    try:
        with _owned(base, 0):
            return ""
    except UserError as error:
        return str(error).removeprefix(f"{base}: ")
