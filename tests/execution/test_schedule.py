"""The order of stages in hand-made graphs."""

from __future__ import annotations

from gift_core.execution.schedule import Schedule

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}


def test_the_stage_with_the_longest_path_behind_it_comes_first() -> None:
    times = {"a": 1, "b": 1, "c": 3, "d": 1, "e": 4.5}
    assert Schedule(DIAMOND, times).ready() == ["a", "e"]  # 1 + 3 + 1 is more than 4.5
    assert Schedule(DIAMOND, times | {"c": 1}).ready() == ["e", "a"]
