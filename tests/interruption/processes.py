"""Real processes that run a stage and are killed, each forked from a process that has imported everything once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAIT_SECONDS = 900
WRITING = os.O_WRONLY | os.O_RDWR
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.interruption.preloaded"])


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (-9 if it was killed), what it printed, and how many changes it made."""

    code: int | None
    printed: str
    changes: int

    @property
    def continued(self) -> bool:
        return "continues" in self.printed or "known" in self.printed


@dataclass(frozen=True)
class Kill:
    """When a process gets a signal: just before its n-th change of a file or folder."""

    change: int | None = None
    signal: int = signal.SIGKILL


NEVER = Kill()


def run(root: Path, command: Sequence[str], kill: Kill = NEVER, threads: int = 1) -> Ended:
    """Runs `gift COMMAND` in a process of its own with so many threads. Every snapshot is due at once."""
    notes = root / "notes"
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir()
    process = SERVER.Process(target=_stage, args=(str(root), list(command), kill, threads))
    process.start()
    process.join(WAIT_SECONDS)
    assert process.exitcode is not None, f"{command} did not end within {WAIT_SECONDS} s"
    printed = (notes / "printed").read_text(encoding="utf-8", errors="replace")
    changes = notes / "changes"
    return Ended(process.exitcode, printed, int(changes.read_text()) if changes.exists() else 0)


def _stage(root: str, command: list[str], kill: Kill, threads: int) -> None:
    """The process: prints into a file, sends itself the signal at a change, and runs the command."""
    import torch

    from gift_core.driving import training
    from gift_core.work import resumable
    from stages.app import app

    notes = Path(root) / "notes"
    printed = os.open(notes / "printed", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(printed, stream)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, encoding="utf-8") for number in (1, 2))
    training.INTERVAL = resumable.INTERVAL = 0.0
    torch.set_num_threads(threads)
    changes = _count_changes(root, kill)
    try:
        app([*command, "--params", f"{root}/params.yaml", "--root", root])
    except SystemExit as ended:
        (notes / "changes").write_text(str(len(changes)))
        sys.stdout.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 1)


def _count_changes(root: str, kill: Kill) -> list[str]:
    """Returns a list that grows with every change below `root`. The signal comes just before change `kill.change`."""
    changes: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in CHANGES:
            return
        path, writes = str(arguments[0]), event != "open" or arguments[2] & WRITING
        if writes and path.startswith(root):
            changes.append(path)
            if len(changes) == kill.change:
                os.kill(os.getpid(), kill.signal)

    sys.addaudithook(watch)
    return changes
