"""How time and memory grow: the counts, the laws, parts at a small size, and the sums of docs/scaling.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import growth, growth_parts
from benchmarks.growth import linear_law, power_law
from benchmarks.growth_pipeline import counts_of, evaluated_in_step, of_stages
from benchmarks.scale import mtil, run_seconds, sampled

X = np.array([10.0, 100.0, 1000.0])


def test_the_counts_are_those_of_the_formulas(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.chdir(project)  # the miniature models are in data/
    found = counts_of(5)
    counts = {"stages": 34, "tests": 30, "last_step": 10, "all_again": 70, "own_and_last": 9}
    assert counts.items() <= found.items()
    assert evaluated_in_step(["a", "b", "c"]) == [(2, 0), (2, 1), (2, 2), (-1, 2), (0, 2), (1, 2)]


def test_a_law_is_found_again() -> None:
    text, fitted = linear_law(X, 2 + 0.03 * X)
    assert text.format("classes") == "2 + 0.03 * classes" and fitted == pytest.approx(2 + 0.03 * X)
    text, fitted = power_law(X, 0.5 * X**1.5)
    assert text.format("stages") == "0.5 * stages^1.50" and fitted == pytest.approx(0.5 * X**1.5)


@pytest.mark.end_to_end
def test_a_recorded_pipeline_is_up_to_date_for_dvc_and_for_gift_run(project: Path) -> None:
    rows = of_stages([3, 30], rounds=1)
    assert [each["stages"] for each in rows] == [3, 30]
    assert all(each["repro"] > 0 and each["dry"] > 0 for each in rows)


@pytest.mark.end_to_end
def test_the_command_writes_part_and_figure(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    for name in ("GIFT_QUIET", "DVC_NO_ANALYTICS", "PYTHONPATH"):  # main sets them; other tests need them as they are
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(growth_parts, "in_own_process", lambda part, size: growth_parts.MEASURED_HERE[part](size))
    options = ["--only", "classes", "--classes", "2", "3", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["growth", *options, "--figure", str(tmp_path / "g.png")])
    growth.main()
    (part,) = json.loads((tmp_path / "growth.json").read_text(encoding="utf-8")).values()
    assert [each["classes"] for each in part["rows"]] == [2, 3]
    assert (tmp_path / "growth.md").is_file() and (tmp_path / "g.png").is_file()


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
