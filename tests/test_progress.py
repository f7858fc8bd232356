"""A long loop shows a bar on a terminal, a line every 30 s elsewhere, and nothing if that is asked for."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from gift_core import progress as module
from gift_core.progress import progress, progress_bar
from tests.imports import ROOT

NESTED = """
import time
from gift_core import progress
progress.LINE_SECONDS = 0.2
for _ in progress.progress(range(2), 2, "outer"):
    for _ in progress.progress(range(8), 8, "inner"):
        time.sleep(0.06)
print("done")
"""
COMMAND = [sys.executable, "-c", NESTED]


def environment(**more: str) -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("GIFT_QUIET", "TERM")}
    return {**plain, "TERM": "xterm", **more}


def in_terminal(**more: str) -> str:
    """What NESTED writes on its terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    process = subprocess.Popen(COMMAND, **streams, cwd=ROOT, env=environment(**more), start_new_session=True)
    os.close(slave)
    shown = b""
    with suppress(OSError):  # the process has ended
        while select.select([master], [], [], 60)[0] and (block := os.read(master, 4096)):
            shown += block
    os.close(master)
    assert process.wait(60) == 0, shown
    return shown.decode()


def in_pipe(**more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(COMMAND, capture_output=True, text=True, cwd=ROOT, env=environment(**more), timeout=60)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be changed. stderr is no terminal, and no loop ran before."""
    now = [100.0]
    monkeypatch.delenv("GIFT_QUIET", raising=False)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "_last_line", [])
    monkeypatch.setattr(module, "_counts", [])
    return now


@pytest.mark.parametrize(
    ("turns", "total", "done", "seconds", "lines"),
    [
        (130, 200, 0, 0.5, ["60/200, 2.0 per second, 70 s left", "120/200, 2.0 per second, 40 s left"]),
        (2, 140, 100, 30, ["101/140, 2.0 per minute, 20 min left", "102/140, 2.0 per minute, 19 min left"]),
        (1, 4, 0, 4500, ["1/4, 0.8 per hour, 3.8 hours left"]),
        (3, 3, 0, 5, []),
    ],
    ids=["every 30 seconds", "a loop that continues", "a slow loop", "a short loop"],
)  # fmt: skip
def test_a_line_comes_every_30_seconds_with_the_rate_of_this_run(
    clock: list[float], capsys: pytest.CaptureFixture[str], turns: int, total: int, done: int, seconds: float,
    lines: list[str],
) -> None:  # fmt: skip
    counted = 0
    for number in progress(range(turns), total, "iterations", done=done):
        clock[0] += seconds
        counted += number == counted
    assert counted == turns
    assert capsys.readouterr().err.splitlines() == [f"iterations {line}" for line in lines]


def test_a_loop_in_a_loop_shares_its_line(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress(range(2), 2, "accuracies"):
        with progress_bar(40, "letters images") as bar:
            for _ in range(2):
                clock[0] += 10
                bar.update(20)
    assert capsys.readouterr().err.splitlines() == [
        "accuracies 1/2, 2.0 per minute, 30 s left; letters images 20/40, 2.0 per second, 10 s left"
    ]


def test_short_loops_after_each_other_are_a_line_every_30_seconds_too(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        for _ in progress(range(10), 10, f"list {number}"):
            clock[0] += 1
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["list 2 10/10"]


def test_a_terminal_shows_bars_and_only_the_outer_one_stays() -> None:
    shown = in_terminal()
    assert "\r" in shown and "inner:" in shown and "outer: 100%" in shown
    assert "inner: 100%" not in shown.rstrip().splitlines()[-1]
    assert " per second" not in shown
    assert "; inner" in in_terminal(TERM="dumb")  # which cannot show a bar


def test_a_pipe_gets_whole_lines_without_control_characters() -> None:
    done = in_pipe()
    assert done.stdout == "done\n"
    lines = done.stderr.splitlines()
    assert 2 <= len(lines) <= 5
    assert all(re.fullmatch(r"outer [01]/2.*; inner \d/8, [\d.]+ per second, \d s left", line) for line in lines)
    assert "\r" not in done.stderr


def test_quiet_shows_nothing_on_a_terminal_and_in_a_pipe() -> None:
    assert in_terminal(GIFT_QUIET="1") == "done\r\n"
    assert in_pipe(GIFT_QUIET="1").stderr == ""


@pytest.mark.parametrize(("value", "quiet"), [("", False), ("0", False), ("False", False), ("1", True), ("yes", True)])
def test_quiet_is_a_variable_of_the_environment(value: str, quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFT_QUIET", value)
    assert module.is_quiet() is quiet
