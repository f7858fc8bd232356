"""Files and folders that are published whole or not at all.

A writer works in a folder beside the final path, `.<name>.<random>.partial`, in which what is written has its final
name. It holds a lock in it. The operating system releases the lock however the process ends, so the next writer of the
path knows which folders it can remove.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from gift_core.errors import UserError
from gift_core.quantities import byte_size
from gift_core.work.os_errors import OUT_OF_SPACE, number_of

LOCK = ".lock"  # in a partial folder
MANY_FILES = 1000


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary file to write. It replaces `path` when the block succeeds, else it is removed.

    Whenever the process or the machine stops, `path` is the old file or the new one.
    """
    with _partial_folder(path) as folder:
        yield folder / path.name
        _finish(folder / path.name, mode=folder.stat().st_mode)
        (folder / path.name).replace(path)
        _flush(path.parent)


@contextmanager
def build_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder to fill. It replaces `path` when the block succeeds, else it is removed.

    Whenever the process or the machine stops, `path` is the old folder or the new one. For a moment, after the old one
    was renamed, there is none. If `path` is a link to a folder, that folder is replaced. All in the new folder has the
    modes that the umask gives. Before any work: UserError if the working folder is in `path`, OSError for a file and
    for a link that leads nowhere.
    """
    real = Path(os.path.realpath(path))  # resolve() raises RuntimeError for links in a circle
    if Path.cwd().is_relative_to(real):
        raise UserError(f"{path}: the working folder is in it, so it is not replaced. Name a folder of its own.")
    if os.path.lexists(path) and not path.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    path = real if path.is_symlink() else path
    with _partial_folder(path) as folder:
        new = folder / path.name
        new.mkdir()
        yield new
        _finish(new, mode=folder.stat().st_mode)
        if path.exists():
            path.rename(folder / f"{path.name}.old")
        new.rename(path)
        _flush(path.parent)


@contextmanager
def _partial_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside `path`, locked, and removes it at the end. Removes first what dead writers left.

    An error that the disk is full names `path`, whatever library met it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    lock = FileLock(folder / LOCK)
    try:
        with _locked(path.parent):  # no other writer looks between making and locking
            for left in path.parent.glob(f".{glob.escape(path.name)}.????????.partial"):
                with suppress(Timeout, OSError):
                    with FileLock(left / LOCK, timeout=0):  # Windows removes no open file
                        pass
                    shutil.rmtree(left)
            folder.mkdir()
            with suppress(OSError):  # a file system without locks, where the folders of killed writers stay
                lock.acquire()
        yield folder
    except Exception as error:
        number = number_of(error)
        if number not in OUT_OF_SPACE:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        lock.release()  # Windows removes no open file
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder itself, where the system has one: Windows does not."""
    with ExitStack() as held:
        with suppress(ImportError, OSError):
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)  # a forked process may have the descriptor, too
        yield


def _finish(new: Path, *, mode: int) -> None:
    """Sets the permissions of all that is written to those of `mode`, and waits until it is on the disk.

    safetensors lets only the owner read, and copies are like their sources. A hard link of a file elsewhere stays as it
    is, and so does all on a disk without modes.
    """
    entries = [entry for entry in (new, *new.rglob("*")) if not entry.is_symlink()]
    for entry in entries:
        status = entry.lstat()
        if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
            allowed = 0o777 if stat.S_ISDIR(status.st_mode) else 0o666
            with suppress(OSError):
                entry.chmod(stat.S_IMODE(status.st_mode) & ~0o777 | mode & allowed)
    if len(entries) > MANY_FILES and hasattr(os, "sync"):
        os.sync()  # one call, where a call for each file takes minutes
        return
    for entry in entries:
        _flush(entry)


def _flush(path: Path) -> None:
    """Waits until the file, or the list of files in a folder, is on the disk, where the system can do that."""
    try:
        descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.EIO, *OUT_OF_SPACE):
            raise


def require_free_bytes(path: Path, needed: int, purpose: str) -> None:
    """Raises UserError if the disk of `path` (which need not exist yet) has fewer than `needed` bytes free.

    `purpose` begins the message: what needs the space, such as "ingest birds".
    """
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    free = shutil.disk_usage(folder).free
    if free < needed:
        problem = f"{byte_size(needed)} are needed in {path}, but only {byte_size(free)} are free"
        raise UserError(f"{purpose}: {problem}. Free some space there, or ask for less.")
