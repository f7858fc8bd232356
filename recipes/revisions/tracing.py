"""Notes which functions of the code run, in this process and in those that it starts.

A copy of this file, named sitecustomize.py, is on the path of a probed stage, so that its child processes import it.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType

ROOT, FILE = "GIFT_TRACED_CODE", "GIFT_TRACED_FILE"
IS_FUNCTION = 0x1  # CO_OPTIMIZED: not a module and not the body of a class
INTERRUPTED = 9


def start(interrupt_at: tuple[str, str, int] | None = None) -> None:
    """Appends each function of the code in $GIFT_TRACED_CODE to $GIFT_TRACED_FILE when it is called first.

    `interrupt_at`: (file, function, n) ends this process at the n-th call of the function.
    """
    if FILE not in os.environ:
        return
    root, seen, calls = os.environ[ROOT] + os.sep, set[CodeType](), 0
    file, function, most = interrupt_at or ("", "", 0)
    ours = (f"{root}gift_core{os.sep}", f"{root}stages{os.sep}")
    note = os.open(os.environ[FILE], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def trace(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        code = frame.f_code
        if most and code.co_name == function and code.co_filename == root + file:
            calls += 1
            if calls == most:
                os._exit(INTERRUPTED)
        if code in seen:
            return
        is_ours = code.co_flags & IS_FUNCTION and code.co_filename.startswith(ours)
        if is_ours and _is_of_an_import(frame):
            return
        seen.add(code)
        if is_ours:
            os.write(note, f"{code.co_firstlineno} {code.co_filename}\n".encode())

    threading.settrace(trace)
    sys.settrace(trace)


def _is_of_an_import(frame: FrameType) -> bool:
    """Whether a module calls the function while it is imported: that counts where the result is used."""
    caller = frame.f_back
    while caller is not None:
        if caller.f_code.co_filename.startswith("<frozen importlib"):
            return True
        caller = caller.f_back
    return False


def read(note: Path, root: Path) -> frozenset[tuple[str, int]]:
    """Returns (file below root, first line) of the functions that ran."""
    lines = note.read_text(encoding="utf-8").splitlines() if note.is_file() else []
    found = (line.partition(" ") for line in lines)
    return frozenset((Path(file).relative_to(root).as_posix(), int(number)) for number, _, file in found)


if __name__ == "sitecustomize":
    start()
