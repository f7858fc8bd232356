"""Anyone's accuracy rows: what a reader must not change. What it refuses: tests/stages/test_metrics_command.py."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gift_core.artifacts.accuracy_rows import read_accuracy_rows
from gift_core.errors import UserError

ROWS = pd.DataFrame(
    {"method": ["NA", "1e5"], "step": [-1, 0], "trained_task": ["007", "null"], "eval_task": "007", "top1": [0.5, 0.25]}
)


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    rows = read_accuracy_rows([tmp_path / "rows.csv"])
    pd.testing.assert_frame_equal(rows, ROWS, check_like=True, check_dtype=False)


def test_a_spreadsheets_csv_is_read(tmp_path: Path) -> None:
    text = (
        '\ufeffmethod, step, trained_task, eval_task, top1_percent, note\r\ngift, 0, pets , pets, 62.5, "a, b"\r\n\r\n'
    )
    (tmp_path / "ROWS.CSV").write_bytes(text.encode())
    row = read_accuracy_rows([tmp_path]).to_dict("records")
    assert row == [{"method": "gift", "trained_task": "pets", "eval_task": "pets", "step": 0, "top1": 0.625}]


@pytest.mark.parametrize("index", ["method", ["method", "step"]])
def test_parquet_columns_that_pandas_made_the_index_are_found(tmp_path: Path, index: str | list[str]) -> None:
    ROWS.set_index(index).to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(read_accuracy_rows([tmp_path]), ROWS, check_like=True, check_dtype=False)


def test_parquet_of_other_types_is_read(tmp_path: Path) -> None:
    typed = ROWS.astype({"method": "category", "step": "float32", "top1": "float32"})
    typed.to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(read_accuracy_rows([tmp_path]), ROWS, check_like=True, check_dtype=False)


def test_an_empty_cell_of_parquet_is_named(tmp_path: Path) -> None:
    ROWS.assign(eval_task=["007", None]).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="row 2, column eval_task: is empty"):
        read_accuracy_rows([tmp_path])


def test_files_may_give_fractions_and_percent(tmp_path: Path) -> None:
    ROWS[:1].to_csv(tmp_path / "a.csv", index=False)
    ROWS[1:].rename(columns={"top1": "top1_percent"}).to_csv(tmp_path / "b.csv", index=False)
    assert read_accuracy_rows([tmp_path]).top1.tolist() == [0.5, 0.0025]
