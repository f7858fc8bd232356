"""How time and memory grow: the counts, the laws, and the cheap parts at a size that takes seconds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import growth, growth_parts
from benchmarks.growth import linear_law, power_law
from benchmarks.growth_pipeline import counts_of, evaluated_in_step, of_stages

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
def test_the_command_writes_the_part_and_the_figure(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
