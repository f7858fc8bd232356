"""How time and memory grow: the counts, the laws, and the cheap parts at a size that takes seconds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import growth, growth_parts
from benchmarks.growth import linear_law, plot, power_law, record, section
from benchmarks.growth_parts import evaluation_seconds, medians, of_classes, of_images, write_images
from benchmarks.growth_pipeline import counts_of, evaluated_in_step, metrics_from, of_stages, own_and_last

X = np.array([10.0, 100.0, 1000.0])


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.chdir(project)  # the miniature models are in data/


def row(**values: object) -> growth.Row:
    """A row of the part classes."""
    return {"classes": 10, "iteration": 1.0, "encoding": 0.5, "peak_gib": 2.0, "spread": 0.1, **values}


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_the_counts_are_those_of_the_formulas(tasks: int, at_root: None) -> None:
    found = counts_of(tasks)
    assert found["stages"] == 6 * tasks + 4
    assert found["tests"] == tasks * (tasks + 1) and found["last_step"] == 2 * tasks
    assert found["all_again"] == tasks * (tasks + 1) * (tasks + 2) // 3
    assert found["own_and_last"] == 2 * tasks - 1


def test_a_step_tests_its_model_on_all_tasks_and_each_earlier_model_on_the_new_one() -> None:
    assert evaluated_in_step(["a", "b", "c"]) == [(2, 0), (2, 1), (2, 2), (-1, 2), (0, 2), (1, 2)]


def test_the_own_task_and_the_last_model_give_last_and_forgetting_alone() -> None:
    assert metrics_from(own_and_last(4), 4) == ["last", "forgetting"]
    every = frozenset((step, task) for step in range(4) for task in range(4))
    assert metrics_from(every, 4) == ["transfer", "avg", "last", "forgetting"]
    assert metrics_from(every - {(3, 0)}, 4) == ["transfer"]


def test_a_law_is_found_again() -> None:
    text, fitted = linear_law(X, 2 + 0.03 * X)
    assert text.format("classes") == "2 + 0.03 * classes" and fitted == pytest.approx(2 + 0.03 * X)
    text, fitted = power_law(X, 0.5 * X**1.5)
    assert text.format("stages") == "0.5 * stages^1.50" and fitted == pytest.approx(0.5 * X**1.5)


def test_the_page_says_how_far_the_rows_are_from_the_law() -> None:
    rows = [row(classes=int(x), iteration=2 + 0.03 * x, encoding=x**2) for x in X]
    page = section("classes", {"rows": rows, "circumstances": "(here)"})
    assert "- an iteration of gift, s = 2 + 0.03 * classes, within 0%. Exponent between the two largest: 0.81." in page
    assert "texts in evaluate, s = " in page and "Exponent between the two largest: 2.00." in page
    assert "| 1,000 | 32 | 1,000,000 | 2 |" in page and "differ by at most 10% of a median" in page


def test_medians_and_the_spread_of_the_times() -> None:
    rounds = [[row(iteration=value, peak_gib=value)] for value in (1.0, 4.0, 2.0)]
    (found,) = medians(rounds)
    assert (found["iteration"], found["peak_gib"], found["spread"]) == (2.0, 2.0, 1.5)


def test_a_part_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    counts = {"stages": 16, "tests": 6, "last_step": 4, "own_and_last": 3, "all_again": 8, "minutes": 1.0}
    tasks = [{"tasks": tasks, "spread": 0.0, **counts} for tasks in (2, 3)]
    for name, rows in (("tasks", tasks), ("classes", [row()]), ("classes", [row(), row(classes=20, iteration=3.0)])):
        parts = record(tmp_path, name, {"rows": rows, "circumstances": "(here)"})
    assert list(json.loads((tmp_path / "growth.json").read_text(encoding="utf-8"))) == ["classes", "tasks"]
    page = (tmp_path / "growth.md").read_text(encoding="utf-8")
    assert "| 20 | 3 | 0.5 | 2 |" in page and page.index("## Classes") < page.index("## Tasks")
    plot(parts, tmp_path / "growth.png")
    assert Image.open(tmp_path / "growth.png").size == (1800, 1080)


def test_more_classes_take_longer(at_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    few, many = of_classes(5), of_classes(400)
    torch.set_num_threads(threads)
    assert many["iteration"] > few["iteration"] > 0 and many["encoding"] > 5 * few["encoding"] > 0


def test_a_test_set_is_classified(at_root: None) -> None:
    assert evaluation_seconds(20)["evaluation"] > 0


def test_pairs_are_written_opened_and_sampled(at_root: None, tmp_path: Path) -> None:
    folder = tmp_path / "600"  # two shards
    write_images(folder, 600)
    assert sorted(file.name for file in (folder / "shards").glob("*.tar")) == ["00000.tar", "00001.tar"]
    found = of_images(str(folder))
    assert found["images"] == 600 and found["opening"] > found["features"] > 0 and found["batch_ms"] > 0


@pytest.mark.end_to_end
def test_a_recorded_pipeline_is_up_to_date_for_dvc_and_for_gift_run(project: Path) -> None:
    rows = of_stages([3, 30], rounds=1)
    assert [each["stages"] for each in rows] == [3, 30]
    assert all(each["repro"] > 0 and each["dry"] > 0 for each in rows)


@pytest.mark.end_to_end
def test_the_command_writes_the_part_and_the_figure(
    at_root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIFT_QUIET", "DVC_NO_ANALYTICS", "PYTHONPATH"):  # main sets them; other tests need them as they are
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(growth_parts, "in_own_process", lambda part, size: growth_parts.MEASURED_HERE[part](size))
    options = ["--only", "classes", "--classes", "2", "3", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["growth", *options, "--figure", str(tmp_path / "g.png")])
    growth.main()
    (part,) = json.loads((tmp_path / "growth.json").read_text(encoding="utf-8")).values()
    assert [each["classes"] for each in part["rows"]] == [2, 3]
    assert (tmp_path / "growth.md").is_file() and (tmp_path / "g.png").is_file()
