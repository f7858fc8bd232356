"""The arithmetic of docs/scaling.md, compared with schedules by hand."""

from __future__ import annotations

import pytest

from benchmarks.scale import mtil, run_seconds, sampled

GRAPH = {"a 1": [], "a 2": ["a 1"], "b 1": [], "b 2": ["b 1"]}
SECONDS = dict.fromkeys(GRAPH, 10.0)


@pytest.mark.parametrize(("gpus", "record", "expected"), [(1, 0, 40), (2, 0, 20), (1, 2, 42), (2, 2, 26)])
def test_the_time_of_two_chains(gpus: int, record: float, expected: float) -> None:
    """With one GPU, only the last recording is waited for. With two, the chains wait in turn for the one recorder."""
    assert run_seconds(GRAPH, SECONDS, gpus=gpus, record_seconds=record) == expected


def test_the_stages_of_all_methods_tasks_and_seeds() -> None:
    part = {"UNet": 1.0, "decoder": 2.0, "image tower": 0.5, "text tower": 0.25}
    graph, seconds = mtil(part, teraflops=10.0, start_seconds=7.0)
    assert len(graph) == 3 * 11 * (1 + 3 * 23)
    assert seconds["synthesize 0 0"] == 7 + 1000 * (2 * 50 * 1.0 + 2.0) / 10
    assert graph["teach 2 5 10"] == ["synthesize 2 10", "finetune 2 5 9"]
    assert graph["evaluate 2 5 10"] == ["finetune 2 5 10", "evaluate 2 5 9"]
    assert sampled(part, 4, 1) == 4 * 1.0 + 2.0
