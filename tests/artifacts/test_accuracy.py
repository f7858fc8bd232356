"""The accuracies of a step, and accuracy tables from any source (errors: stages/test_metrics_command.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from gift_core.artifacts.accuracy import (
    read_accuracy,
    read_accuracy_rows,
    write_accuracy,
    write_empty_accuracy,
)
from gift_core.errors import ContractError, UserError
from tests.artifacts.damage import broken_message, cut, rewrite_table

METADATA = {"task:letters": "abc", "model:pretrained": "def"}


def row(**changes: Any) -> dict[str, Any]:
    return {
        "method": "gift", "protocol": "task_incremental", "step": 0, "trained_task": "letters", "eval_task": "letters",
        "phase": "current", "top1": 0.75, "n": 500, **changes,
    }  # fmt: skip


START = row(step=-1, trained_task="pretrained", phase="pretrained", top1=0.5)
ROWS = pd.DataFrame([START, row()])


def test_what_is_written_is_read_with_its_metadata(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "gift" / "letters.parquet", ROWS, METADATA)
    rows, metadata = read_accuracy(tmp_path / "gift" / "letters.parquet")
    assert rows.to_dict("records") == ROWS.to_dict("records")
    assert metadata == METADATA


def test_class_incremental_rows_are_read_back(tmp_path: Path) -> None:
    rows = ROWS.assign(protocol="class_incremental")
    write_accuracy(tmp_path / "gift" / "letters.parquet", rows, METADATA)
    assert read_accuracy(tmp_path / "gift" / "letters.parquet")[0].to_dict("records") == rows.to_dict("records")


def test_rows_are_ordered_by_step(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "gift" / "letters.parquet", ROWS[::-1], METADATA)
    assert read_accuracy(tmp_path / "gift" / "letters.parquet")[0].step.tolist() == [-1, 0]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "a", ROWS, METADATA)
    write_accuracy(tmp_path / "b", ROWS[::-1], dict(reversed(METADATA.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"top1": 75.0}, r"top1 should be a fraction from 0 to 1; found 75\.0"),
        ({"top1": -0.1}, "top1 should be a fraction from 0 to 1"),
        ({"top1": float("nan")}, "there should be no empty value"),
        ({"phase": "passed"}, "rows should be one of past, current, future, pretrained; found 'passed'"),
        ({"protocol": "cil"}, "protocol should be one of task_incremental, class_incremental; found 'cil'"),
        ({"n": 0}, "n should be at least 1"),
        ({"step": -2}, "step at least -1"),
        ({"step": -1}, "phase should be pretrained at step -1 and nowhere else"),
        ({"phase": "pretrained"}, "phase should be pretrained at step -1 and nowhere else"),
        ({"protocol": "class_incremental", "phase": "past"}, "rows should be one of current, pretrained; found 'past'"),
        (
            {"protocol": "class_incremental", "eval_task": "digits"},
            "eval_task should be trained_task where",
        ),
    ],
)
def test_unsound_rows_are_refused_on_write(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=expected):
        write_accuracy(tmp_path / "gift" / "letters.parquet", pd.DataFrame([row(**change)]), METADATA)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_refused_where_there_should_be_some(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="there should be one row at least"):
        write_accuracy(tmp_path / "gift" / "letters.parquet", ROWS.head(0), METADATA)


def test_the_start_of_the_chain_has_no_rows(tmp_path: Path) -> None:
    write_empty_accuracy(tmp_path / "pretrained.parquet", METADATA)
    rows, metadata = read_accuracy(tmp_path / "pretrained.parquet")
    assert len(rows) == 0
    assert metadata == METADATA


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("gift/digits.parquet", "its newest step should be digits by gift, it is letters by gift"),
        ("finetune/letters.parquet", "its newest step should be letters by finetune, it is letters by gift"),
        ("pretrained.parquet", "its newest step should be none, it is letters by gift"),
    ],
)
def test_the_accuracies_of_another_method_or_task_are_refused(path: str, expected: str, tmp_path: Path) -> None:
    write_accuracy(tmp_path / path, ROWS, METADATA)
    assert expected in broken_message(lambda: read_accuracy(tmp_path / path), tmp_path / path, "evaluate")


def test_the_empty_start_in_place_of_a_step_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gift" / "letters.parquet"
    write_empty_accuracy(path, METADATA)
    assert "it is none" in broken_message(lambda: read_accuracy(path), path, "evaluate")


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gift" / "letters.parquet"
    write_accuracy(path, ROWS, METADATA)
    rewrite_table(path, lambda table: table.drop_columns(["phase"]))
    assert "phase is missing" in broken_message(lambda: read_accuracy(path), path, "evaluate")


def test_a_wrong_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gift" / "letters.parquet"
    write_accuracy(path, ROWS, METADATA)
    rewrite_table(path, lambda table: table.set_column(6, "top1", pa.array([1, 1])))
    message = broken_message(lambda: read_accuracy(path), path, "evaluate")
    assert "column top1 should be double, it is int64" in message


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gift" / "letters.parquet"
    write_accuracy(path, ROWS, METADATA)
    cut(path)
    broken_message(lambda: read_accuracy(path), path, "evaluate")


# Tables from any source. Names that look like numbers or missing values do not change.
FOREIGN = pd.DataFrame(
    {
        "method": ["NA", "1e5"],
        "protocol": ["task_incremental", "class_incremental"],
        "step": [-1, 0],
        "trained_task": ["007", "null"],
        "eval_task": "007",
        "top1": [0.5, 0.25],
    }
)


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    FOREIGN.to_csv(tmp_path / "rows.csv", index=False)
    rows = read_accuracy_rows([tmp_path / "rows.csv"])
    pd.testing.assert_frame_equal(rows, FOREIGN, check_like=True, check_dtype=False)


def test_a_spreadsheets_csv_is_read(tmp_path: Path) -> None:
    text = (
        '\ufeffmethod, step, trained_task, eval_task, top1_percent, note\r\ngift, 0, pets , pets, 62.5, "a, b"\r\n\r\n'
    )
    (tmp_path / "ROWS.CSV").write_bytes(text.encode())
    row = read_accuracy_rows([tmp_path]).to_dict("records")
    texts = {"method": "gift", "protocol": "task_incremental", "trained_task": "pets", "eval_task": "pets"}
    assert row == [{**texts, "step": 0, "top1": 0.625}]


@pytest.mark.parametrize("index", ["method", ["method", "step"]])
def test_parquet_columns_that_pandas_made_the_index_are_found(tmp_path: Path, index: str | list[str]) -> None:
    FOREIGN.set_index(index).to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(read_accuracy_rows([tmp_path]), FOREIGN, check_like=True, check_dtype=False)


def test_parquet_of_other_types_is_read(tmp_path: Path) -> None:
    typed = FOREIGN.astype({"method": "category", "step": "float32", "top1": "float32"})
    typed.to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(read_accuracy_rows([tmp_path]), FOREIGN, check_like=True, check_dtype=False)


def test_an_empty_value_of_parquet_is_named(tmp_path: Path) -> None:
    FOREIGN.assign(eval_task=["007", None]).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="row 2, column eval_task: is empty"):
        read_accuracy_rows([tmp_path])


def test_files_may_give_fractions_and_percent(tmp_path: Path) -> None:
    FOREIGN[:1].to_csv(tmp_path / "a.csv", index=False)
    FOREIGN[1:].rename(columns={"top1": "top1_percent"}).to_csv(tmp_path / "b.csv", index=False)
    assert read_accuracy_rows([tmp_path]).top1.tolist() == [0.5, 0.0025]
