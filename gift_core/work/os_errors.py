"""Explains what the operating system refused: a full or read-only disk, a missing permission, a link to nowhere.

Libraries wrap these errors in types of their own. Those are recognized by their messages, so that none is imported.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gift_core.errors import GiftError, UserError

MAX_TEMPORARY_BYTES = 24  # of the path of the folder for temporary files that holds sockets


@contextmanager
def socket_folder(prefix: str) -> Iterator[str]:
    """Yields a temporary folder whose path is short: the path of a socket in it has at most 107 bytes.

    Ray adds up to 70 bytes. Where the folder for temporary files has a long path, it is in /tmp.
    """
    parent = "/tmp" if len(os.fsencode(tempfile.gettempdir())) > MAX_TEMPORARY_BYTES and os.access("/tmp", 7) else None
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as folder:
        yield folder


class SystemRefusedError(UserError):
    """The operating system refused something. The message is complete."""


_PERMISSION = "Change its owner or permissions (`ls -ld` shows them), or use another folder"
_MOUNT = "Check the disk, or the network and the mount"
# What to do about what the machine lacks, whatever path was given.
MACHINE: Mapping[int, str] = {
    errno.ENOSPC: "Free some space there (`df -h` and `df -i` show it)",
    errno.EDQUOT: "Remove files of yours there, or ask for a larger quota",
    errno.EFBIG: "Raise `ulimit -f`, or use another file system",
    errno.EMFILE: "Raise `ulimit -n`",
    errno.ENFILE: "Close other programs",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _PERMISSION),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN), _MOUNT),
}
# What is wrong with the path. ENOENT is explained only where a link leads nowhere.
PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EBUSY)
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WITHOUT_PATH = (*OUT_OF_SPACE, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE)
_KEPT = "No result is half-written: the old one stays until the new one is whole."
_QUOTED = re.compile(r"""(?:file|path) (['"])(.+?)\1""")  # by pyarrow and safetensors
_NUMBER = re.compile(r"\[errno (\d+)\]|\(os error (\d+)\)", re.IGNORECASE)
# torch and numpy say how much was written, not why it was too little.
_SHORT_WRITE = re.compile(r"unexpected pos \d+ vs \d+|file write failed|\d+ requested and \d+ written")
# A folder of gift_core.work.publishing. What is in it has the name that it will have outside.
_PARTIAL = re.compile(r"(?:^|(?<=/))\.[^/]+\.partial/|/\.[^/]+\.partial$")


def explain(error: BaseException, *, doing: str, phase: str = "") -> SystemRefusedError | None:
    """Returns the error to show in place of `error` if the operating system caused it, None for any other error.

    `doing` names the command or the stage, `phase` says what it was doing. A GiftError is replaced only if the machine
    lacks something. About a wrong path it knows more.
    """
    if isinstance(error, SystemRefusedError):
        return error
    for cause in causes(error):
        path, words, remedy = _explanation(cause)
        if remedy and not (isinstance(error, GiftError) and remedy not in MACHINE.values()):
            during = f" while {phase}" if phase else ""
            what = f"{path}: {words}{during}" if path else f"{words}{during} ({' '.join(str(cause).split())})"
            return SystemRefusedError(f"{doing}: {what}. {remedy}, then run it again. {_KEPT}")
    return None


def number_of(error: BaseException) -> int | None:
    """Returns the error number of the operating system, also if it is only in the message; None if there is none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, GiftError):
        return None  # it has a message for people, and its cause has the number
    text = str(error)
    if found := _NUMBER.search(text):
        return int(found[1] or found[2])
    if _SHORT_WRITE.search(text):
        return errno.ENOSPC
    return next((number for number in MACHINE if os.strerror(number) in text), None)


def _explanation(error: BaseException) -> tuple[str, str, str]:
    """Returns the path that is at fault ("" if unknown), what is wrong, and the remedy ("" for any other error)."""
    number = number_of(error)
    # a copy names its source first, and the file it writes second
    path = (number in OUT_OF_SPACE and getattr(error, "filename2", None)) or getattr(error, "filename", None)
    quoted = _QUOTED.search(str(error))
    known = str(path) if isinstance(path, str | os.PathLike) else quoted[2] if quoted else ""
    if number in (errno.ENOENT, errno.EEXIST) and known:
        for part in (*reversed(Path(known).parents), Path(known)):
            if part.is_symlink() and not part.exists():
                what = f"this link leads to {part.readlink()}, which cannot be reached"
                return _PARTIAL.sub("", str(part)), what, "Make its target available, or remove the link"
    if number is None or (isinstance(error, OSError) and error.errno and not known and number not in _WITHOUT_PATH):
        return "", "", ""  # without a path: of a socket or a process
    remedy = MACHINE.get(number) or ("Use another path" if number in PATH else "")
    return _PARTIAL.sub("", known), os.strerror(number), remedy


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the error, what it was raised from, what that was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
