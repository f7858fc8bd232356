"""`gift metrics`: the published numbers from their rows, and the errors of bad rows."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.method.test_metrics import curve_rows, rows_of
from tests.stages.experiment import gift

TASKS = ("pets", "cars")  # not in the order of letters
BEFORE = (0.5, 0.25)
MATRIX = ((0.75, 0.25), (0.5, 1.0))
BY_HAND = {"transfer": 25.0, "avg": 62.5, "last": 75.0, "forgetting": 25.0}
two_tasks = partial(rows_of, MATRIX, tasks=TASKS)
run = partial(gift, "metrics")


def computed(*arguments: str | Path) -> Any:
    return json.loads(run("--json", *arguments).stdout)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def csv(rows: pd.DataFrame, separator: str = ",") -> Path:
    rows.to_csv("rows.csv", index=False, sep=separator)
    return Path("rows.csv")


def test_any_separator_gives_the_numbers_by_hand_and_per_task_a_row_for_each_task() -> None:
    for separator in ",;\t":
        assert computed(csv(two_tasks()[::-1], separator)) == {"gift": BY_HAND}
    numbers = computed("--per-task", csv(two_tasks()[::-1]))["gift"]
    by_task = numbers.pop("by_task")
    assert list(by_task) == ["pets", "cars"]  # the order of the steps
    assert numbers == BY_HAND
    assert by_task == {
        "pets": {"transfer": None, "avg": 62.5, "last": 50.0, "forgetting": 25.0},
        "cars": {"transfer": 25.0, "avg": 62.5, "last": 100.0, "forgetting": None},
    }
    lines = run("--per-task", csv(two_tasks())).stdout.splitlines()
    row = next(line for line in lines if "cars" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["cars", "25.0", "62.5", "100.0", "-"]


def test_of_cross_domain_files_the_newest_step_of_a_method_counts_alone(tmp_path: Path) -> None:
    """Each step tests everything anew, among more classes."""
    rows = pd.concat([two_tasks(), two_tasks(method="other")]).assign(protocol="cross_domain")
    rows.to_csv(tmp_path / "a_last.csv", index=False)
    rows[rows.eval_task == "pets"][:1].assign(top1=0.99).to_csv(tmp_path / "b_first.csv", index=False)
    assert computed(tmp_path) == {"gift": BY_HAND, "other": BY_HAND}
    untrained = rows.assign(eval_task="birds").drop_duplicates(["method", "step"])
    pd.concat([rows, untrained]).to_csv(tmp_path / "c_other.csv", index=False)
    result = run(tmp_path / "c_other.csv", "--json")
    assert json.loads(result.stdout) == {"gift": BY_HAND, "other": BY_HAND}
    assert "Tests on tasks that no step has learned are left out: birds." in result.stderr


@pytest.mark.parametrize(
    ("third", "reason"),
    [
        ((), "Tests on tasks that no step has learned are left out: birds, food."),
        ((0.5, 0.5), "Step 2 (birds) is left out: it was not tested on birds."),
    ],
)
def test_a_run_that_has_not_ended_is_scored_as_far_as_it_goes(third: tuple[float, ...], reason: str) -> None:
    tasks = ("pets", "cars", "birds", "food")
    matrix = ((*BEFORE, 0.5, 0.5), (*MATRIX[0], 0.5, 0.5), (*MATRIX[1], 0.5, 0.5), third)
    path = csv(rows_of(matrix, tasks=tasks, first=-1))
    zero_shot = {"transfer": 25.0, "avg": 37.5, "last": 37.5, "forgetting": 0.0}
    assert computed(path) == {"zero_shot": zero_shot, "gift": BY_HAND}
    for options in ([], ["--json"]):
        assert run(path, *options).stderr == f"note: gift: scored up to step 1 (cars). {reason}\n"
    row = next(line for line in run(path).stdout.splitlines() if "gift " in line)
    assert row.strip("│").split("│")[-1].strip() == "2"


def changed(at: int, column: str, value: object) -> pd.DataFrame:
    rows = two_tasks().astype({column: object})
    rows.loc[at, column] = value
    return rows


BAD_ROWS: list[tuple[pd.DataFrame, str]] = [
    (two_tasks().rename(columns={"top1": "top_1"}), "'top1_percent' (0-100). Did you mean 'top_1'"),
    (two_tasks().assign(top1=100 * two_tasks().top1), "line 2, column top1: should be less than or equal to 1, it is '75.0'. It is a fraction, with a point and without %: name the column of percent"),
    (changed(1, "top1", "75%"), "line 3, column top1: should be a valid number, unable to parse string as a number, it is '75%'."),
    (changed(1, "step", 0.5), "line 3, column step: should be a valid integer, unable to parse string as an integer, it is '0.5'. Count from 0"),
    (pd.concat([two_tasks(), two_tasks()[:1]]), "rows.csv: line 2 and rows.csv: line 6: both give gift, step 0, on pets. Keep one of them, or add the column seed."),
    (changed(3, "trained_task", ""), "line 5, column trained_task: is empty. Write the task that step 1 trained. Only step -1 has none."),
    (two_tasks().assign(protocol=["class_incremental", "class-incremental"] * 2), "line 3, column protocol: should be 'task_incremental', 'class_incremental' or 'cross_domain', it is 'class-incremental'."),
    (pd.concat([curve_rows()[:2], curve_rows()[2:].assign(eval_task="z")]), "accuracies of cil: class_incremental, but step 2 trained x and its eval_task is z. Write"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS, ids=[message for _, message in BAD_ROWS])
def test_an_error_has_the_location_of_the_bad_row_and_a_remedy(rows: pd.DataFrame, message: str) -> None:
    result = run(csv(rows), expect=1)
    assert message in result.stderr and result.stdout == ""
