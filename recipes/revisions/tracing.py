"""Notes which functions of the code run in a stage of DVC, and interrupts some stages once.

A copy of this file, named sitecustomize.py, is on the path of `dvc repro`, so that every process of it imports it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType, ModuleType

NOTES = "GIFT_NOTES"  # the folder for notes, an environment variable
IS_FUNCTION = 0x1  # CO_OPTIMIZED: not a module and not the body of a class
# Where a stage is interrupted once: at the second call of a function. It then has something to continue from.
INTERRUPTED_AT = {
    "synthesize": ("gift_core/artifacts/shards.py", "write_shard"),
    "teach": ("gift_core/work/units.py", "write_state"),
    "finetune": ("gift_core/work/units.py", "write_state"),
    "evaluate": ("gift_core/work/units.py", "write_state"),
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
    root, notes, seen, calls = os.environ["DVC_ROOT"] + os.sep, Path(os.environ[NOTES]), set[CodeType](), 0
    note = os.open(notes / stage, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    interrupted = notes / f"{stage.partition('@')[0]} was interrupted"
    ours = (f"{root}gift_core{os.sep}", f"{root}stages{os.sep}")
    at = None if interrupted.exists() else INTERRUPTED_AT.get(stage.partition("@")[0])
    if at:
        from gift_core.work import training, units

        training.INTERVAL = units.INTERVAL = 0.0  # something is kept at every opportunity

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        code = frame.f_code
        if at and code.co_name == at[1] and code.co_filename == root + at[0]:
            calls += 1
            if calls == 2:
                interrupted.touch()
                os._exit(1)
        if code in seen:
            return
        if code.co_flags & IS_FUNCTION and code.co_filename.startswith(ours):
            caller = frame.f_back
            while caller is not None:
                if caller.f_code.co_filename.startswith("<frozen importlib"):
                    return  # a module calls it while it is imported: that counts where the result is used
                caller = caller.f_back
            os.write(note, f"{code.co_filename.removeprefix(root)}:{code.co_firstlineno}\n".encode())
        seen.add(code)

    threading.settrace(on_call)
    sys.settrace(on_call)


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, Starter())
