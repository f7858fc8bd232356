"""Runs a command and records its time and memory: measure.py NOTES COMMAND... adds a line of JSON to the file NOTES.

A line has `arguments` (those after `-m stages`), `seconds`, `cpu_seconds` and `peak_bytes` (the peak resident memory of
the command and its children, including memory-mapped weights). Only commands with `-m stages` are recorded.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MARK = ("-m", "stages")
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@dataclass(frozen=True)
class Measured:
    """Time and memory of one command."""

    arguments: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def stage(self) -> str:
        """The stage with its method and task: "finetune gift aircraft"."""
        return " ".join(self.arguments[: next((i for i, part in enumerate(self.arguments) if part[0] == "-"), None)])


def measured(command: list[str]) -> tuple[int, Measured]:
    """Runs `command`. Returns its exit code and what it took.

    Linux counts the memory of the calling process as that of the command, so the caller should use little memory.
    """
    started = time.monotonic()
    process = subprocess.Popen(command)
    status, usage = 0, None
    while usage is None:
        with contextlib.suppress(KeyboardInterrupt):  # the command is interrupted too: wait for its end
            _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    noted = Measured(
        tuple(command[command.index(MARK[1]) + 1 :]) if MARK[1] in command else (),
        seconds=round(time.monotonic() - started, 2),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        peak_bytes=usage.ru_maxrss * BYTES_PER_UNIT,
    )
    return process.returncode, noted


def read_notes(path: Path) -> list[Measured]:
    """Returns the measurements in the file, in order. Empty if the file does not exist."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    return [Measured(**{**row, "arguments": tuple(row["arguments"])}) for row in rows]


def write_shim(folder: Path, notes: Path) -> None:
    """Writes `folder`/python, which runs this Python with measure.py. `folder` should come first in PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    shim = folder / "python"
    command = shlex.join(map(str, (sys.executable, Path(__file__).resolve(), notes.resolve(), sys.executable)))
    shim.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    shim.chmod(0o755)


def main() -> None:
    """Runs the command line, and exits with the exit code of the command."""
    notes, command = Path(sys.argv[1]), sys.argv[2:]
    if tuple(command[1:3]) != MARK:
        os.execv(command[0], command)
    code, noted = measured(command)
    with notes.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(noted)) + "\n")
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
