"""Folders for unfinished work beside its final path. Each belongs to one process, and one left by a dead process goes.

A folder is `.<name>.<host>-<random>.partial`, and what is written has its final name in it. The process holds a lock on
the folder (flock). The operating system releases it however the process ends, so a process number that is in use again
misleads nobody. The locks of another machine on a shared file system cannot be seen: its folders go a week after the
last change.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gift_core.os_errors import OUT_OF_SPACE, number_of

try:
    import fcntl
except ImportError:  # Windows has other locks: there the age decides
    fcntl = None  # type: ignore[assignment]

REMOVING = "removing"  # in a partial folder while the old folder is removed
ABANDONED_AFTER_S = 7 * 24 * 3600.0
_HOST = re.compile(r"\.([0-9a-f]{8})-[0-9a-f]{8}\.partial")


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside `path` and removes it at the end, with all that is in it then.

    Removes first what dead writers of `path` left. A folder that one of them had put aside becomes `path` again, if
    there is none. An error that the disk is full names `path`, whatever library met it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    with _new_folder(path) as folder:
        try:
            yield folder
        except Exception as error:
            number = number_of(error)
            if number not in OUT_OF_SPACE or getattr(error, "filename", None):
                raise
            raise OSError(number, os.strerror(number), str(path)) from error
        finally:
            _remove(folder, path)


def put_aside(folder: Path, path: Path) -> None:
    """Moves an old folder `path` into the partial folder, where it is kept while a new one takes its place.

    Where it cannot be renamed (a folder of a lower layer of overlayfs), it is copied and removed.
    """
    try:
        path.rename(_old(folder, path))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(path, _old(folder, path), symlinks=True)
        (folder / REMOVING).touch()  # from here to the end, recover takes the copy and not what is left of `path`
        shutil.rmtree(path)
        (folder / REMOVING).unlink()


def _old(folder: Path, path: Path) -> Path:
    return folder / f"{path.name}.old"


def recover(path: Path) -> None:
    """Removes the partial folders of dead writers of `path`, after putting back what one of them had put aside."""
    for folder in sorted(path.parent.glob(f".{glob.escape(path.name)}.*.partial")):
        with _lock(folder) as held:
            if _is_abandoned(folder, held):
                _remove(folder, path)


def _remove(folder: Path, path: Path) -> None:
    """What cannot be put back or removed now stays for the next writer."""
    old = _old(folder, path)
    if (folder / REMOVING).exists():
        shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(old) and not os.path.lexists(path):
        try:
            old.rename(path)
        except OSError:
            return
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # a file, not a folder
        folder.unlink()


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder, locked. Another writer may take it for abandoned before it is locked: then a second one."""
    while True:
        folder = path.with_name(f".{path.name}.{_this_host()}-{secrets.token_hex(4)}.partial")
        folder.mkdir()
        with _lock(folder) as held:
            if held is not False and folder.exists():
                yield folder
                return


@contextmanager
def _lock(folder: Path) -> Iterator[bool | None]:
    """Yields whether this process now holds the lock, None if there are no locks here."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # removed, or on Windows
        yield None if folder.exists() else False
        return
    try:
        yield _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        return None
    return True


def _is_abandoned(folder: Path, held: bool | None) -> bool:
    if held is False:
        return False
    host = _HOST.search(folder.name)
    if held and host and host[1] == _this_host():
        return True
    return time.time() - _last_change(folder) > ABANDONED_AFTER_S


def _last_change(folder: Path) -> float:
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):
            newest = max(newest, path.lstat().st_mtime)
    return newest


def _this_host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
