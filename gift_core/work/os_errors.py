"""Explains what the machine refused: memory, a full or read-only disk, a missing permission.

Python's own errors and those of pyarrow have a class or a number. The message alone tells it of torch's allocators, and
of the libraries that are written in Rust.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile

from gift_core.errors import GiftError, UserError
from gift_core.stage_facts import facts_of

MAX_TEMPORARY_BYTES = 24  # of the path of the folder for temporary files that holds sockets
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
LOST = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN)
# What is wrong with the path. A GiftError knows more about it.
PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EBUSY)
REMEDIES: dict[int, str] = {
    **dict.fromkeys(OUT_OF_SPACE, "Free some space there (`df -h`, `df -i`, `quota` and `ulimit -f` show the limits)"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise `ulimit -n`, or close other programs"),
    **dict.fromkeys(FORBIDDEN, "Change its owner or permissions (`ls -ld` shows them), or use another folder"),
    **dict.fromkeys(LOST, "Check the disk, or the network and the mount"),
    **dict.fromkeys(PATH, "Use another path"),
}
# Parts of the messages of CUDA, ROCm and MPS, of torch's CPU allocator, and of libraries that CUDA loads.
_SHORTAGES = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
_KEPT = "No result is half-written: the old one stays until the new one is whole."
_NUMBER_IN_RUST = re.compile(r"\(os error (\d+)\)")  # safetensors, tokenizers
# A folder of gift_core.work.publishing. What is in it has the name that it will have outside.
_PARTIAL = re.compile(r"(?:^|(?<=/))\.[^/]+\.partial/|/\.[^/]+\.partial$")


def socket_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """Returns a temporary folder whose path is short: the path of a socket in it has at most 107 bytes.

    Ray adds up to 70 bytes. Where the folder for temporary files has a long path, it is in /tmp.
    """
    is_long = len(os.fsencode(tempfile.gettempdir())) > MAX_TEMPORARY_BYTES
    parent = "/tmp" if is_long and os.access("/tmp", os.R_OK | os.W_OK | os.X_OK) else None
    return tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)


def explain(error: BaseException, *, doing: str, phase: str = "", stage: str = "") -> UserError | None:
    """Returns the error to show in place of `error` if the machine refused something, None for any other error.

    `doing` names the command or the stage's run, `phase` says what it was doing. A GiftError is replaced only if the
    machine lacks something.
    """
    during = f" while {phase}" if phase else ""
    cause: BaseException | None = error
    while cause is not None:
        said = " ".join(str(cause).split())
        is_shortage = isinstance(cause, RuntimeError) and any(text in said for text in _SHORTAGES)
        if isinstance(cause, MemoryError) or is_shortage:
            settings = facts_of(stage).less_memory
            keys = f"Change params.yaml, in this order: {settings}. " if settings else ""
            remedy = f"{keys}Or close other programs that use this memory, or set run.device. See docs/memory.md"
            return UserError(f"{doing}: out of memory{during} ({'. '.join(said.split('. ')[:2])}). {remedy}.")
        number, path = number_of(cause), getattr(cause, "filename", None)
        if number in REMEDIES and not (number in PATH and isinstance(error, GiftError)):
            words = os.strerror(number)
            problem = f"{_PARTIAL.sub('', str(path))}: {words}{during}" if path else f"{words}{during} ({said})"
            return UserError(f"{doing}: {problem}. {REMEDIES[number]}, then run it again. {_KEPT}")
        cause = cause.__cause__
    return None


def number_of(error: BaseException) -> int:
    """Returns the error number of the operating system, 0 if there is none. A GiftError has it in its cause."""
    if isinstance(error, OSError):
        return error.errno or 0
    in_message = None if isinstance(error, GiftError) else _NUMBER_IN_RUST.search(str(error))
    return int(in_message[1]) if in_message else 0
