"""A folder for unfinished work, with one owner at a time. Interrupted stages resume from it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gift_core.errors import UserError
from gift_core.untrusted import leaves, read_json_file
from gift_core.work.publishing import write_atomically

logger = logging.getLogger(__name__)
WAIT_SECONDS = 10.0  # an owner whose parent was killed ends within this time
KEY = ".key.json"  # marks a folder as ours, and holds the whole key
OTHERS = 2  # folders with the work of other keys that are kept, the newest ones
SHOWN = 3  # differences between two keys that a message names

Key = Mapping[str, Any]  # what decides the result, a JSON object


@dataclass(frozen=True)
class Unfinished:
    """The work that an interrupted or running process keeps in `folder`, and its size in bytes."""

    folder: Path
    key: Key
    size: int
    changed_at: float  # seconds since the epoch


@contextmanager
def kept_folder(base: Path, key: Key) -> Iterator[Path]:
    """Yields a folder in `base`, owned by this process, with what a former run of the same `key` left there. It stays.

    The newest folders of other keys stay for a time. Only folders with the file KEY are ever removed. UserError if
    another process owns `base` for longer than WAIT_SECONDS. The system releases the lock of a killed process.
    """
    base.parent.mkdir(parents=True, exist_ok=True)
    with _owned(base, WAIT_SECONDS):
        folder = base / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        others = [work for work in unfinished_works(base) if work.folder != folder]
        for work in others[:-OTHERS]:
            _remove(work.folder)
        with write_atomically(folder / KEY) as temporary:
            temporary.write_text(json.dumps(key, indent=2), encoding="utf-8")
        yield folder


@contextmanager
def work_folder(base: Path, key: Key) -> Iterator[Path]:
    """Yields a kept_folder with what an interrupted run left there. Warns of other work where there is nothing.

    When the block succeeds, the folder is removed: publish the result within the block. When it fails, a folder with
    something in it stays: check what you find in it. A KeyboardInterrupt gets an argument that says so.
    """
    with kept_folder(base, key) as folder:
        others = [work for work in unfinished_works(base) if work.folder != folder]
        if others and is_unused(folder):
            logger.warning(_not_continued(others[-1], json.loads(json.dumps(key))))  # as a key is read again
        try:
            yield folder
        except BaseException as error:
            with suppress(OSError):  # what failed may be this disk: the first error is the one to show
                if is_unused(folder):
                    _remove(folder)
                elif isinstance(error, KeyboardInterrupt):
                    error.args += (f"What is finished is kept in {base}, and the next run continues from there.",)
            raise
        _remove(folder)


def is_unused(folder: Path) -> bool:
    """Returns whether no work is kept in a folder. Files whose names begin with a dot are about the work."""
    return all(path.name[0] == "." for path in folder.iterdir())


def unfinished_works(base: Path) -> list[Unfinished]:
    """Returns the work of all keys in `base`, oldest first. A folder without KEY is not ours.

    Its owner may go on meanwhile. What is removed before it was looked at is left out.
    """
    works = []
    _, names, _ = next(os.walk(base), ("", [], []))
    for folder in (base / name for name in names):
        with suppress(FileNotFoundError):
            key = read_json_file(folder / KEY)
            files = list(_files_in(folder))
            changed_at = max(status.st_mtime for status in (folder.lstat(), *files))
            works.append(Unfinished(folder, key, sum(status.st_size for status in files), changed_at))
    return sorted(works, key=lambda work: (work.changed_at, work.folder))


def _files_in(folder: Path) -> Iterator[os.stat_result]:
    """Yields the status of each file in a folder that may change meanwhile."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield Path(parent, name).lstat()


def remove_work(base: Path) -> None:
    """Removes the work of all keys in `base`. UserError where a process owns it."""
    with _owned(base, 0):
        for work in unfinished_works(base):
            _remove(work.folder)


def _not_continued(work: Unfinished, key: Key) -> str:
    """Says which work is not continued, and the first differences between the two keys."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(work.changed_at))
    old, new = dict(leaves(work.key)), dict(leaves(key))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    differences = [f"{name} {old.get(name)!s:.24}, now {new.get(name)!s:.24}" for name in names[:SHOWN]]
    reason = f"The unfinished work of {when} is of another run ({'; '.join(differences)})."
    remedy = f"It stays in {work.folder}: run with those values to continue it, or remove it with gift clean."
    return f"starts from the beginning. {reason} {remedy}"


def _remove(folder: Path) -> None:
    """Removes a folder, and then its parent if that is empty."""
    shutil.rmtree(folder)
    with suppress(OSError):  # it holds other work
        folder.parent.rmdir()


@contextmanager
def _owned(base: Path, wait_seconds: float) -> Iterator[None]:
    """Holds the lock file next to `base`, never in it: the folder is removed while the lock is held."""
    lock = FileLock(base.with_name(f"{base.name}.lock"))
    note = base.with_name(f"{base.name}.owner")
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        owner = "another process works on it. Wait until it ends"
        with suppress(OSError):
            owner = note.read_text() or owner
        raise UserError(f"{base}: {owner}.") from None
    try:
        who = f"process {os.getpid()} on {socket.gethostname()} has worked on it since {time.strftime('%Y-%m-%d %X')}"
        note.write_text(f"{who}. Wait until it ends, or stop it with: kill {os.getpid()}")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def owner_of(base: Path) -> str:
    """Returns a sentence about the process that owns `base` now, an empty text if there is none."""
    try:
        with _owned(base, 0):
            return ""
    except UserError as error:
        return str(error).removeprefix(f"{base}: ")
