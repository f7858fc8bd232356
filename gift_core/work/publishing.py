"""Files and folders that are published whole or not at all.

A writer works in a folder beside the final path, `.<name>.<host>-<random>.partial`, in which what is written has its
final name. It holds a lock on the folder (flock). The operating system releases the lock however the process ends, so
the next writer of the path knows which folders it can remove. The locks of another machine cannot be seen: its folders
stay until a writer there removes them.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import os
import secrets
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gift_core.errors import UserError
from gift_core.quantities import byte_size
from gift_core.work.os_errors import OUT_OF_SPACE, number_of

try:
    import fcntl
except ImportError:  # Windows has other locks: there the folders of killed writers stay
    fcntl = None  # type: ignore[assignment]

MANY_FILES = 1000
_HERE = -100  # AT_FDCWD: a relative path begins in the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
# An old kernel, a sandbox that knows no such call, or a file system without it, such as NFS.
_UNSUPPORTED = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV)


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary file to write. It replaces `path` when the block succeeds, else it is removed.

    Whenever the process or the machine stops, `path` is the old file or the new one. It has the mode of the old file,
    or the one that the umask gives to a new file.
    """
    with _partial_folder(path) as folder:
        temporary = folder / path.name
        yield temporary
        _set_mode(temporary, _mode_of_new(folder))
        _keep_mode(path, temporary)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)


@contextmanager
def build_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder to fill. It replaces `path` when the block succeeds, else it is removed.

    Whenever the process or the machine stops, `path` is the old folder or the new one. Where the file system cannot
    exchange two folders (NFS), there is none for a moment. If `path` is a link to a folder, that folder is replaced.
    The new folder has the mode of the old one; all in it has the modes that the umask gives to new files and folders.
    """
    path = _replaceable_folder(path)
    with _partial_folder(path) as folder:
        new = folder / path.name
        new.mkdir()
        yield new
        _finish_folder(new, _mode_of_new(folder))
        _keep_mode(path, new)
        if not os.path.lexists(path):
            new.rename(path)
        elif not exchange(new, path):
            path.rename(folder / f"{path.name}.old")
            new.rename(path)
        _flush(path.parent)


@contextmanager
def _partial_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside `path`, locked, and removes it at the end. Removes first what dead writers left.

    An error that the disk is full names `path`, whatever library met it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    for left in path.parent.glob(f".{glob.escape(path.name)}.{host}-*.partial"):
        with _lock(left, wait=False) as held:
            if held:
                shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = path.with_name(f".{path.name}.{host}-{secrets.token_hex(4)}.partial")
        folder.mkdir()
        with _lock(folder, wait=True):
            if not folder.exists():  # another writer locked and removed it first
                continue
            try:
                yield folder
            except Exception as error:
                number = number_of(error)
                if number not in OUT_OF_SPACE or getattr(error, "filename", None):
                    raise
                raise OSError(number, os.strerror(number), str(path)) from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Yields whether this process now holds the lock of the folder. It does not where there are no locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # removed, or on Windows
        yield False
        return
    held = False
    with suppress(OSError, AttributeError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        held = True
    try:
        yield held
    finally:
        os.close(descriptor)


def require_free_bytes(path: Path, needed: int, purpose: str) -> None:
    """Raises UserError if the disk of `path` (which need not exist yet) has fewer than `needed` bytes free.

    OSError if nothing can be written there at all. `purpose` begins the message: what needs the space, such as
    "ingest birds".
    """
    free = shutil.disk_usage(_writable_folder(path)).free
    if free < needed:
        raise UserError(
            f"{purpose}: {byte_size(needed)} are needed in {path}, but only {byte_size(free)} are free. "
            "Free some space there, or ask for less."
        )


def _writable_folder(path: Path) -> Path:
    """Returns the nearest folder above `path` that exists. OSError if it is no folder or cannot be written."""
    folder = next(each for each in path.absolute().parents if os.path.lexists(each))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder / path.name))
    if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        read_only = os.name == "posix" and os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(folder))
    return folder


def _replaceable_folder(path: Path) -> Path:
    """Returns `path`, or the folder that it links to.

    Before any work: UserError if the working folder is in it, OSError for a file and for a link that leads nowhere.
    """
    real = Path(os.path.realpath(path))  # resolve() raises RuntimeError for links in a circle
    if Path.cwd().is_relative_to(real):
        raise UserError(f"{path}: the working folder is in it, so it is not replaced. Name a folder of its own.")
    if os.path.lexists(path) and not path.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    return real if path.is_symlink() else path


def _finish_folder(folder: Path, mode: int) -> None:
    """Sets the modes of all in the folder, and waits until it is on the disk."""
    entries = [folder, *folder.rglob("*")]
    for entry in entries:
        _set_mode(entry, mode)
    if len(entries) > MANY_FILES and hasattr(os, "sync"):
        os.sync()  # one call, where a call for each file takes minutes
        return
    for entry in entries:
        if not entry.is_symlink() and (entry.is_file() or entry.is_dir()):
            _flush(entry)


def _mode_of_new(folder: Path) -> int:
    """The permissions that a new folder gets here, as the folder itself got them. Reading the umask would change it."""
    return folder.stat().st_mode & 0o777


def _set_mode(path: Path, mode: int) -> None:
    """Sets the permissions that the umask gives. safetensors lets only the owner read; copies are like their sources.

    A file that has another name elsewhere (a hard link) stays as it is, and so does all on a disk without modes.
    """
    status = path.lstat()
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        mode &= 0o666
    elif not stat.S_ISDIR(status.st_mode):
        return
    if status.st_mode & 0o777 != mode:
        with suppress(OSError):
            path.chmod(stat.S_IMODE(status.st_mode) & ~0o777 | mode)


def _keep_mode(old: Path, new: Path) -> None:
    """Gives `new` the permissions and the group of the `old` path, which it is about to replace.

    Not those of a link, nor of what its owner must not write: so DVC protects its outputs.
    """
    try:
        status = old.lstat()
    except OSError:
        return
    writable = 0o700 if stat.S_ISDIR(status.st_mode) else 0o200
    if stat.S_ISLNK(status.st_mode) or status.st_mode & writable != writable:
        return
    if os.name == "posix" and status.st_gid != new.stat().st_gid:
        with suppress(OSError):
            os.chown(new, -1, status.st_gid)
    with suppress(OSError):
        new.chmod(stat.S_IMODE(status.st_mode))


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


def exchange(one: Path, other: Path) -> bool:
    """Exchanges what the two paths name, and returns whether the system could. OSError if one of them is missing."""
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    paths = (os.fsencode(one), os.fsencode(other))
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        failed = library.renameat2(_HERE, paths[0], _HERE, paths[1], _EXCHANGE)
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        failed = library.renamex_np(*paths, _EXCHANGE)
    else:
        return False
    number = ctypes.get_errno()
    if failed and number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number), str(one), None, str(other))
    return not failed
