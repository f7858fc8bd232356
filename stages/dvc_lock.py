"""Which other process works on this project, from the two files with which DVC locks it.

`.dvc/tmp/lock` is locked by a process that reads or writes DVC's files. `dvc repro` gives it up while a stage runs;
the outputs of the stage are then in `.dvc/tmp/rwlock`, with the process.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from gift_core.errors import UserError

WAIT_SECONDS = 3.0  # as long as DVC waits: most commands have ended by then
POLL_SECONDS = 0.5


def require_free(root: Path) -> None:
    """UserError with the process and what to do, if another process works on the DVC project that has `root`."""
    projects = (each for each in (root.absolute(), *root.absolute().parents) if (each / ".dvc" / "config").is_file())
    folder = next(projects, root) / ".dvc" / "tmp"
    end = time.monotonic() + WAIT_SECONDS
    while process := _running_stage(folder) or _lock_holder(folder):
        if time.monotonic() > end:
            raise UserError(
                f"another process works on this project: {_described(process)}. Wait until it has ended, or stop it "
                f"(kill {process}; finished stages are kept). Then run this again."
            )
        time.sleep(POLL_SECONDS)


def _running_stage(folder: Path) -> int | None:
    """The process whose stage runs, and writes its outputs."""
    try:
        written = json.loads((folder / "rwlock").read_text(encoding="utf-8"))["write"]
        processes = [int(entry["pid"]) for entry in written.values()]
        changed = (folder / "rwlock").stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return next((process for process in processes if _started_before(process, changed)), None)


def _started_before(process: int, changed: float) -> bool:
    """Whether it is the process that wrote the file, not a later one with the number of one that was killed."""
    import psutil

    try:
        return bool(psutil.Process(process).create_time() <= changed)
    except psutil.Error:
        return False


def _lock_holder(folder: Path) -> int | None:
    import fcntl

    try:
        with (folder / "lock").open("rb+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read())
    except (OSError, ValueError):
        return None
    return None


def _described(process: int) -> str:
    """`dvc repro` (process 123, since 14:02)."""
    import psutil

    try:
        found = psutil.Process(process)
        words, started = found.cmdline(), time.strftime("%H:%M", time.localtime(found.create_time()))
    except psutil.Error:
        return f"process {process} of another user or machine"
    words = [word for word in words if word != "-m" and not Path(word).name.startswith("python")]
    command = " ".join(["gift" if words[0] == "stages" else Path(words[0]).name, *words[1:]]) if words else found.name()
    return f"`{command}` (process {process}, since {started})"
