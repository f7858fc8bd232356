"""Runs a command, and notes what it took: measure.py NOTES COMMAND... appends a line of JSON to the file NOTES.

A line holds `arguments` (those after `-m stages`), `seconds`, `cpu_seconds` and `peak_bytes` (the most resident memory
of the command and its children, mapped files of weights included). Only commands with `-m stages` are noted.
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
BYTES_A_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@dataclass(frozen=True)
class Measured:
    """What one command took."""

    arguments: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def stage(self) -> str:
        """The stage and what it was run for: "finetune gift aircraft"."""
        return " ".join(self.arguments[: next((i for i, part in enumerate(self.arguments) if part[0] == "-"), None)])


def measured(command: list[str]) -> tuple[int, Measured]:
    """Runs `command` to its end; returns its exit code and what it took.

    Linux counts the memory of the process that calls this as the command's, so the caller has to be a small one.
    """
    started = time.monotonic()
    process = subprocess.Popen(command)
    status, usage = 0, None
    while usage is None:
        with contextlib.suppress(KeyboardInterrupt):  # the command was interrupted, too: its end is waited for
            _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    noted = Measured(
        tuple(command[command.index(MARK[1]) + 1 :]) if MARK[1] in command else (),
        seconds=round(time.monotonic() - started, 2),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        peak_bytes=usage.ru_maxrss * BYTES_A_UNIT,
    )
    return process.returncode, noted


def read_notes(path: Path) -> list[Measured]:
    """Returns what the file's lines say, in their order; nothing where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    return [Measured(**{**row, "arguments": tuple(row["arguments"])}) for row in rows]


def write_shim(folder: Path, notes: Path) -> None:
    """Makes `folder`/python, to stand first on PATH: it runs this Python under measure.py."""
    folder.mkdir(parents=True, exist_ok=True)
    shim = folder / "python"
    command = shlex.join(map(str, (sys.executable, Path(__file__).resolve(), notes.resolve(), sys.executable)))
    shim.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    shim.chmod(0o755)


def main() -> None:
    """The command line of the module's first line; ends as the command did."""
    notes, command = Path(sys.argv[1]), sys.argv[2:]
    if tuple(command[1:3]) != MARK:
        os.execv(command[0], command)
    code, noted = measured(command)
    with notes.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(noted)) + "\n")
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
