"""Progress bars count on stderr and never change what they count."""

from __future__ import annotations

import pytest

from gift_core.progress import progress, progress_bar


def test_progress_yields_what_it_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "letters" in captured.err
    assert "3/3" in captured.err


def test_a_bar_is_advanced_by_several(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(10, "images") as bar:
        bar.update(4)
        bar.update(6)
    assert "10/10" in capsys.readouterr().err


def test_only_the_outer_bar_stays(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress(range(2), 2, "outer"):
        list(progress(range(3), 3, "inner"))
    shown = capsys.readouterr().err
    assert "outer: 100%" in shown
    assert "inner: 100%" not in shown
