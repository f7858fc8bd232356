"""Explains what the machine refused: memory, a full or read-only disk, a missing permission.

Allocators and libraries have types of their own for these errors. They are recognized by their messages, so that none
is imported.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

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


_PERMISSION = "Change its owner or permissions (`ls -ld` shows them), or use another folder"
_MOUNT = "Check the disk, or the network and the mount"
# What to do about what the machine lacks, whatever path was given.
MACHINE: Mapping[int | None, str] = {
    errno.ENOSPC: "Free some space there (`df -h` and `df -i` show it)",
    errno.EDQUOT: "Remove files of yours there, or ask for a larger quota",
    errno.EFBIG: "Raise `ulimit -f`, or use another file system",
    errno.EMFILE: "Raise `ulimit -n`",
    errno.ENFILE: "Close other programs",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _PERMISSION),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN), _MOUNT),
}
# What is wrong with the path.
PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EBUSY)
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# By stage: what needs less memory, the first remedy first. docs/memory.md has the costs.
MEMORY = {
    "finetune": "training.micro_batch_size: 16, then 8 or 4; training.gradient_checkpointing; training.processes",
    "synthesize": "generator.batch_size; generator.memory (vae_slicing, offload); generator.dtype",
    "teach": "evaluation.batch_size; training.replay_batch_size for a method with replay.fisher; model.precision",
    **dict.fromkeys(("evaluate", "probe"), "evaluation.batch_size; model.precision"),
}
# Parts of the messages of CUDA, ROCm and MPS, of torch's CPU allocator, and of libraries that CUDA loads.
_SHORTAGES = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
_KEPT = "No result is half-written: the old one stays until the new one is whole."
_QUOTED = re.compile(r"""(?:file|path) (['"])(.+?)\1""")  # by pyarrow and safetensors
_NUMBER = re.compile(r"\[errno (\d+)\]|\(os error (\d+)\)", re.IGNORECASE)
# torch and numpy say how much was written, not why it was too little.
_SHORT_WRITE = re.compile(r"unexpected pos \d+ vs \d+|file write failed|\d+ requested and \d+ written")
# A folder of gift_core.work.publishing. What is in it has the name that it will have outside.
_PARTIAL = re.compile(r"(?:^|(?<=/))\.[^/]+\.partial/|/\.[^/]+\.partial$")


def explain(error: BaseException, *, doing: str, phase: str = "", stage: str = "") -> UserError | None:
    """Returns the error to show in place of `error` if the machine refused something, None for any other error.

    `doing` names the command or the stage's run, `phase` says what it was doing. A GiftError is replaced only if the
    machine lacks something. About a wrong path it knows more.
    """
    during = f" while {phase}" if phase else ""
    cause: BaseException | None = error
    while cause is not None:
        said, number = " ".join(str(cause).split()), number_of(cause)
        if is_out_of_memory(cause):
            keys = f"Change params.yaml, in this order: {MEMORY[stage]}. " if stage in MEMORY else ""
            remedy = f"{keys}Or close other programs that use this memory, or set run.device. See docs/memory.md"
            return UserError(f"{doing}: out of memory{during} ({'. '.join(said.split('. ')[:2])}). {remedy}.")
        path = _path_of(cause, number)
        remedy = MACHINE.get(number, "Use another path" if number in PATH and not isinstance(error, GiftError) else "")
        if remedy and (path or not isinstance(cause, OSError) or number in (*OUT_OF_SPACE, errno.EIO, errno.EMFILE)):
            words = os.strerror(number or 0)
            what = f"{path}: {words}{during}" if path else f"{words}{during} ({said})"
            return UserError(f"{doing}: {what}. {remedy}, then run it again. {_KEPT}")
        cause = cause.__cause__
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
    return next((number for number in MACHINE if number and os.strerror(number) in text), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an allocator raised it: Python's, numpy's, or torch's on any device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in _SHORTAGES)
    )


def _path_of(error: BaseException, number: int | None) -> str:
    """The path that is at fault, as it will be when it is whole; an empty text if it is unknown."""
    # a copy names its source first, and the file it writes second
    path = (number in OUT_OF_SPACE and getattr(error, "filename2", None)) or getattr(error, "filename", None)
    quoted = _QUOTED.search(str(error))
    known = str(path) if isinstance(path, str | os.PathLike) else quoted[2] if quoted else ""
    return _PARTIAL.sub("", known)
