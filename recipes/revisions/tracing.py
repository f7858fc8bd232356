"""Notes which functions of the code run in a stage of DVC, and interrupts some stages once.

A copy of this file, named sitecustomize.py, is on the path of `dvc repro`, so that every process of it imports it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from inspect import CO_OPTIMIZED
from pathlib import Path
from traceback import walk_stack
from types import CodeType, FrameType, ModuleType

NOTES = "GIFT_NOTES"  # the folder for notes, an environment variable
# Where a stage is interrupted once: at the second call of a function. It then has something to continue from.
INTERRUPTED_AT = {
    "synthesize": "write_shard",
    "teach": "write_state",
    "finetune": "write_state",
    "evaluate": "write_state",
}


class Starter:
    """Starts to trace when a stage imports its code: the fork server has forked its process then."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Finds no module: it only sees which one is imported."""
        if "DVC_STAGE" in os.environ and (name.startswith("gift_core") or name == "stages.app"):
            sys.meta_path.remove(self)
            trace(os.environ["DVC_STAGE"])


def trace(stage: str) -> None:
    """Appends each function of the code to a file named after the stage when it is called first."""
    root, notes, block = os.environ["DVC_ROOT"] + os.sep, Path(os.environ[NOTES]), stage.partition("@")[0]
    note = os.open(notes / stage, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    interrupted, seen = notes / f"{block} was interrupted", set[CodeType]()
    last: CodeType | None = None  # the function at whose next call the stage is interrupted
    at = "" if interrupted.exists() else INTERRUPTED_AT.get(block, "")
    if at:
        from gift_core.work import training, units

        training.INTERVAL = units.INTERVAL = 0.0  # something is kept at every opportunity

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        nonlocal last
        code = frame.f_code
        if code is last:
            interrupted.touch()
            os._exit(1)
        if code in seen:
            return
        file = code.co_filename.removeprefix(root)
        if code.co_flags & CO_OPTIMIZED and file.startswith(("gift_core/", "stages/")):  # no module, no body of a class
            if any(caller.f_code.co_filename.startswith("<frozen importlib") for caller, _ in walk_stack(frame.f_back)):
                return  # a module calls it while it is imported: that counts where the result is used
            os.write(note, f"{file}:{code.co_firstlineno}\n".encode())
            last = code if code.co_name == at else last
        seen.add(code)

    threading.settrace(on_call)
    sys.settrace(on_call)


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, Starter())
