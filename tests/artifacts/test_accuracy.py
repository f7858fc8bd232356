"""The accuracies of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from gift_core.artifacts.accuracy import (
    read_accuracy,
    read_all,
    seen_until,
    task_seen_until,
    write_accuracy,
    write_empty_accuracy,
)
from gift_core.errors import ContractError
from tests.artifacts.damage import broken_message, cut, rewrite_table

METADATA = {"task:letters": "abc", "model:pretrained": "def"}


def row(**changes: Any) -> dict[str, Any]:
    return {
        "method": "gift", "step": 0, "trained_task": "letters", "eval_task": "letters", "phase": "current",
        "top1": 0.75, "n": 500, **changes,
    }  # fmt: skip


START = row(step=-1, trained_task="pretrained", phase="pretrained", top1=0.5)
ROWS = pd.DataFrame([START, row()])


def test_what_is_written_is_read_with_its_metadata(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "a.parquet", ROWS, METADATA)
    rows, metadata = read_accuracy(tmp_path / "a.parquet")
    assert rows.to_dict("records") == ROWS.to_dict("records")
    assert metadata == METADATA


def test_the_moment_of_the_pretrained_model_is_named_and_read_back() -> None:
    assert seen_until("letters") == "seen:letters"
    assert [task_seen_until(name) for name in ("seen:letters", "seen", "letters")] == ["letters", None, None]


def test_rows_on_all_classes_seen_so_far_are_read_back(tmp_path: Path) -> None:
    seen = [row(step=-1, trained_task="pretrained", eval_task="seen:letters", phase="pretrained")]
    seen += [row(eval_task="seen", phase="seen")]
    write_accuracy(tmp_path / "a.parquet", pd.DataFrame(seen), METADATA)
    assert read_accuracy(tmp_path / "a.parquet")[0].to_dict("records") == seen


def test_rows_are_ordered_by_step(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "a.parquet", ROWS[::-1], METADATA)
    assert read_accuracy(tmp_path / "a.parquet")[0].step.tolist() == [-1, 0]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "a", ROWS, METADATA)
    write_accuracy(tmp_path / "b", ROWS[::-1], dict(reversed(METADATA.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"top1": 75.0}, r"top1 should be a fraction from 0 to 1; found 75\.0"),
        ({"top1": -0.1}, "top1 should be a fraction from 0 to 1"),
        ({"top1": float("nan")}, "there should be no empty cell"),
        ({"phase": "passed"}, "phase should be one of past, current, future, seen, pretrained; found 'passed'"),
        ({"n": 0}, "n should be at least 1"),
        ({"step": -2}, "step at least -1"),
        ({"step": -1}, "phase should be pretrained at step -1 and nowhere else"),
        ({"phase": "pretrained"}, "phase should be pretrained at step -1 and nowhere else"),
        ({"phase": "seen"}, "phase should be seen where eval_task is 'seen' and nowhere else"),
        ({"eval_task": "seen"}, "phase should be seen where eval_task is 'seen' and nowhere else"),
    ],
)
def test_unsound_rows_are_refused_on_write(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=expected):
        write_accuracy(tmp_path / "a.parquet", pd.DataFrame([row(**change)]), METADATA)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_refused_where_there_should_be_some(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="there should be one row at least"):
        write_accuracy(tmp_path / "a.parquet", ROWS.head(0), METADATA)


def test_the_start_of_the_chain_has_no_rows(tmp_path: Path) -> None:
    write_empty_accuracy(tmp_path / "pretrained.parquet", METADATA)
    rows, metadata = read_accuracy(tmp_path / "pretrained.parquet")
    assert len(rows) == 0
    assert metadata == METADATA


def test_read_all_puts_the_files_together_and_skips_the_empty_start(tmp_path: Path) -> None:
    write_empty_accuracy(tmp_path / "pretrained.parquet", METADATA)
    write_accuracy(tmp_path / "gift" / "letters.parquet", ROWS, METADATA)
    write_accuracy(tmp_path / "finetune" / "letters.parquet", ROWS.assign(method="finetune"), METADATA)
    rows = read_all(tmp_path)
    assert rows.method.tolist() == ["finetune", "finetune", "gift", "gift"]
    assert rows.index.tolist() == [0, 1, 2, 3]


def test_read_all_refuses_a_cell_that_comes_twice(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "gift" / "letters.parquet", ROWS, METADATA)
    write_accuracy(tmp_path / "gift" / "textures.parquet", ROWS.tail(1), METADATA)
    message = broken_message(lambda: read_all(tmp_path), tmp_path, "evaluate")
    assert "gift, step 0, on letters comes again" in message


def test_read_all_refuses_a_folder_without_rows(tmp_path: Path) -> None:
    broken_message(lambda: read_all(tmp_path), tmp_path, "evaluate")


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_accuracy(path, ROWS, METADATA)
    rewrite_table(path, lambda table: table.drop_columns(["phase"]))
    assert "phase is missing" in broken_message(lambda: read_accuracy(path), path, "evaluate")


def test_a_wrong_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_accuracy(path, ROWS, METADATA)
    rewrite_table(path, lambda table: table.set_column(5, "top1", pa.array([1, 1])))
    message = broken_message(lambda: read_accuracy(path), path, "evaluate")
    assert "column top1 should be double, it is int64" in message


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_accuracy(path, ROWS, METADATA)
    cut(path)
    broken_message(lambda: read_accuracy(path), path, "evaluate")
