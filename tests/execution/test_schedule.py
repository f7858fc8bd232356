"""The order of stages: hand-made graphs, and random graphs simulated on several workers."""

from __future__ import annotations

import heapq
import random

import pytest

from gift_core.execution.schedule import Schedule, longest_path, waves

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}


def test_a_stage_is_ready_when_all_before_it_are_finished() -> None:
    schedule = Schedule(DIAMOND, {})
    assert schedule.ready() == ["a", "e"]
    schedule.start("a")
    assert schedule.ready() == ["e"]
    schedule.finish("a")
    assert schedule.ready() == ["b", "c", "e"]
    schedule.start("b")
    schedule.finish("b")
    assert schedule.ready() == ["c", "e"]


def test_the_stage_with_the_longest_path_behind_it_comes_first() -> None:
    schedule = Schedule(DIAMOND, {"a": 1, "b": 1, "c": 3, "d": 1, "e": 4.5})
    assert schedule.ready() == ["a", "e"]  # 1 + 3 + 1 is more than 4.5
    schedule.expect({"a": 1, "b": 1, "c": 1, "d": 1, "e": 4.5})
    assert schedule.ready() == ["e", "a"]


def test_what_depends_on_a_failed_stage_is_dropped() -> None:
    schedule = Schedule({**DIAMOND, "f": ["d"], "g": ["c"]}, {})
    for name in ("a", "b"):
        schedule.start(name)
    schedule.finish("a")
    assert sorted(schedule.drop_after("b")) == ["d", "f"]
    schedule.start("c")
    schedule.finish("c")
    assert schedule.ready() == ["e", "g"]


def test_the_time_left_is_the_longest_path_or_the_work_shared_by_the_workers() -> None:
    schedule = Schedule(DIAMOND, {"a": 2, "b": 3, "c": 5, "d": 1, "e": 30})
    assert schedule.seconds_left({}, workers=1) == 41
    assert schedule.seconds_left({}, workers=8) == 30
    schedule.start("e")
    schedule.start("a")
    assert schedule.seconds_left({"e": 29, "a": 1}, workers=8) == 7  # 1 left of a, then c and d


def test_waves_and_the_longest_path_leave_out_what_does_not_run() -> None:
    assert waves(DIAMOND, {"a", "b", "d", "e"}) == [["a", "e"], ["b"], ["d"]]
    assert waves(DIAMOND, {"d", "e"}) == [["d", "e"]]
    seconds = {"a": 2, "b": 3, "c": 5, "d": 1, "e": 4}
    assert longest_path(DIAMOND, set(DIAMOND), seconds) == (["a", "c", "d"], 8)
    assert longest_path(DIAMOND, {"a", "b", "d", "e"}, seconds) == (["a", "b", "d"], 6)
    assert longest_path({}, set(), {}) == ([], 0)


def simulated(upstream: dict[str, list[str]], seconds: dict[str, float], workers: int) -> float:
    """Returns the time of all stages on so many workers, where a stage starts as soon as one is free."""
    schedule, now, running = Schedule(upstream, seconds), 0.0, []
    while running or schedule.ready():
        for name in schedule.ready()[: workers - len(running)]:
            schedule.start(name)
            heapq.heappush(running, (now + seconds[name], name))
        now, name = heapq.heappop(running)
        schedule.finish(name)
    assert not schedule.waiting
    return now


@pytest.mark.parametrize("seed", range(5))
def test_the_stages_of_a_random_graph_end_within_the_bounds_of_list_scheduling(seed: int) -> None:
    rng = random.Random(seed)
    names = [f"s{number}" for number in range(60)]
    upstream = {name: rng.sample(names[:index], min(index, rng.randrange(3))) for index, name in enumerate(names)}
    seconds = {name: rng.uniform(0.5, 3) for name in names}
    longest = longest_path(upstream, set(names), seconds)[1]
    for workers in (1, 3, 60):
        time = simulated(upstream, seconds, workers)
        work = sum(seconds.values()) / workers
        assert max(longest, work) - 1e-6 <= time <= work + longest * (workers - 1) / workers + 1e-6
