"""Notes which functions of the code run in a stage of DVC, and interrupts some stages once.

The probe puts a copy of this file in the place of gift_core/__init__.py, which each process of a stage imports first.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from traceback import walk_stack
from types import CodeType, FrameType

NOTES = "notes"  # the folder for notes in the project
RESUMED = ("synthesize", "teach", "finetune", "evaluate")  # interrupted once, so that they have something to continue
KEEPING = ("write_shard", "write_state")  # at the second call of one of these functions


def trace(stage: str) -> None:
    """Appends each function of the code to a file named after the stage when it is called first."""
    root, block = os.environ["DVC_ROOT"] + os.sep, stage.partition("@")[0]
    note = os.open(Path(root, NOTES, stage), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    interrupted, seen, kept = Path(root, NOTES, f"{block} was interrupted"), set[CodeType](), set[CodeType]()
    is_resumed = block in RESUMED and not interrupted.exists()
    if is_resumed:
        from gift_core.driving import training
        from gift_core.work import resumable

        training.INTERVAL = resumable.INTERVAL = 0.0  # something is kept at every opportunity

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if code in kept:
            interrupted.touch()
            os._exit(1)
        if code in seen:
            return
        file = code.co_filename.removeprefix(root)
        if file.startswith(("gift_core/", "stages/")) and file.endswith(".py"):
            if any(caller.f_code.co_filename.startswith("<frozen importlib") for caller, _ in walk_stack(frame.f_back)):
                return  # a module calls it while it is imported: that counts where the result is used
            os.write(note, f"{file}:{code.co_firstlineno}\n".encode())
            if is_resumed and code.co_name in KEEPING:
                kept.add(code)
        seen.add(code)

    threading.settrace(on_call)
    sys.settrace(on_call)


if __name__ == "gift_core" and "DVC_STAGE" in os.environ:
    trace(os.environ["DVC_STAGE"])
