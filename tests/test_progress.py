"""A long loop shows a bar on a terminal, a line every 30 s elsewhere, and nothing if that is asked for."""

from __future__ import annotations

import pytest

from gift_core import progress as module
from gift_core.progress import progress
from tests.imports import ROOT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be changed. stderr is no terminal."""
    now = [100.0]
    monkeypatch.delenv("GIFT_QUIET", raising=False)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("turns", "total", "done", "seconds", "lines"),
    [
        (130, 200, 0, 0.5, ["60/200, 70 s left", "120/200, 40 s left"]),
        (2, 140, 100, 30, ["101/140, 20 min left", "102/140, 19 min left"]),
        (1, 4, 0, 4500, ["1/4, 3.8 hours left"]),
        (3, 3, 0, 5, []),
    ],
    ids=["every 30 seconds", "a loop that continues", "a slow loop", "a short loop"],
)  # fmt: skip
def test_a_line_comes_every_30_seconds_with_the_time_that_is_left(
    clock: list[float], capsys: pytest.CaptureFixture[str], turns: int, total: int, done: int, seconds: float,
    lines: list[str],
) -> None:  # fmt: skip
    counted = 0
    for number in progress(range(turns), total, "iterations", done=done):
        clock[0] += seconds
        counted += number == counted
    assert counted == turns
    assert capsys.readouterr().err.splitlines() == [f"iterations {line}" for line in lines]


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "_is_terminal", lambda: True)
    monkeypatch.delenv("GIFT_QUIET", raising=False)
    assert list(progress(range(3), 3, "images")) == [0, 1, 2]
    assert "images: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("is_terminal", [False, True])
def test_one_switch_hides_the_lines_and_the_bar(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    assert "`GIFT_QUIET=1` hides it" in (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    monkeypatch.setattr(module, "_is_terminal", lambda: is_terminal)
    monkeypatch.setenv("GIFT_QUIET", "1")
    for _ in progress(range(3), 3, "iterations"):
        clock[0] += 60
    assert capsys.readouterr().err == ""
