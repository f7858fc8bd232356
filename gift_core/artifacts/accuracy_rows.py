"""Anyone's accuracy rows, a row a cell of the accuracy matrix: CSV or Parquet, read strictly, errors for people."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gift_core.errors import UserError, did_you_mean

TEXTS = ("method", "trained_task", "eval_task")
FULL_MARKS = {"top1": 1, "top1_percent": 100}  # the accuracy's column: its largest value
COLUMNS = (*TEXTS, "step", *FULL_MARKS)
CELL = ["method", "step", "eval_task"]


def read_accuracy_rows(paths: Iterable[Path]) -> pd.DataFrame:
    """Returns the columns method, step, trained_task, eval_task, top1 (0-1) of all files, one after another.

    A folder stands for every .csv and .parquet file in it and below it, by their paths; other columns are left out.
    Each file has method, step (-1: the pre-trained model), trained_task, eval_task, and either top1 (a fraction, 0-1)
    or top1_percent (0-100). UserError names the file, the row (counted from 1, the header not) and the column.
    """
    files = [file for path in paths for file in _files(path)]
    rows = pd.concat([_read(file) for file in files])
    if rows.empty:
        raise UserError(f"{', '.join(str(file) for file in files)}: no rows. Give a file with a row a step and task.")
    _require_unique(rows)
    whole: pd.DataFrame = rows.reset_index(drop=True)
    return whole


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in READERS and file.is_file()]
        if not inside:
            raise UserError(f"{path}: no {_suffixes()} file in it or below it. Name another folder, or a file.")
        return inside
    if not path.is_file():
        beside = [file.name for file in path.parent.glob("*") if file.is_dir() or file.suffix.lower() in READERS]
        raise UserError(f"{path}: no such file or folder. {did_you_mean(path.name, beside)}")
    if path.suffix.lower() not in READERS:
        raise UserError(f"{path}: is no {_suffixes()} file by its name. Write the rows as one of these.")
    return [path]


def _read(file: Path) -> pd.DataFrame:
    try:
        table = READERS[file.suffix.lower()](file)
    except (csv.Error, pa.ArrowException, UnicodeError, OSError) as error:
        raise UserError(
            f"{file}: cannot be read as {file.suffix.lower()}: {error}. Write it again, a CSV in UTF-8."
        ) from error
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    accuracy = _accuracy_column(file, table)
    table.index = pd.Index([f"{file}: row {number}" for number in range(1, len(table) + 1)], dtype=object)
    texts = {name: _texts(table[name]) for name in TEXTS}
    rows: pd.DataFrame = pd.DataFrame({**texts, "step": _steps(table["step"]), "top1": _fractions(table[accuracy])})
    return rows


def _read_csv(file: Path) -> pd.DataFrame:
    """All cells as text: a task may be called 007 or NA, and a number's spelling can be quoted when it is wrong."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        filled = [cells for cells in csv.reader(lines, skipinitialspace=True) if cells]
    if not filled:
        raise UserError(f"{file}: is empty. Give it a header and a row a step and task.")
    header, *rows = filled
    for number, cells in enumerate(rows, start=1):
        if len(cells) != len(header):
            raise UserError(
                f"{file}: row {number}: {len(cells)} cells, but the header has {len(header)}. "
                "Separate cells by commas, and write numbers with a point."
            )
    table: pd.DataFrame = pd.DataFrame(rows, columns=header, dtype=str)
    return table


def _read_parquet(file: Path) -> pd.DataFrame:
    """All stored columns, those too that pandas would make the index."""
    table: pd.DataFrame = pq.ParquetFile(file).read().to_pandas(ignore_metadata=True)
    return table


READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {".csv": _read_csv, ".parquet": _read_parquet}


def _accuracy_column(file: Path, table: pd.DataFrame) -> str:
    """Checks the columns' names; returns the one of the accuracies."""
    for name in (*TEXTS, "step"):
        if name not in table:
            raise UserError(f"{file}: column {name!r} is missing. {did_you_mean(name, table.columns)}")
    for name in table.columns[table.columns.duplicated()].intersection(COLUMNS):
        raise UserError(f"{file}: column {name!r} comes twice. Keep one of them.")
    found = [name for name in FULL_MARKS if name in table]
    if len(found) == 2:
        raise UserError(f"{file}: there are both top1 and top1_percent. Keep one of them.")
    if not found:
        both = "column 'top1' (a fraction, 0-1) or 'top1_percent' (0-100) is missing"
        raise UserError(f"{file}: {both}. {did_you_mean('top1', table.columns)}")
    return found[0]


def _texts(column: pd.Series) -> pd.Series:
    texts = column.astype(str).str.strip()
    empty = column.isna() | (texts == "")
    if empty.any():
        raise UserError(f"{_place(column, empty)}: is empty. Write a name there.")
    return texts


def _steps(column: pd.Series) -> pd.Series:
    steps = _numbers(column)
    wrong = (steps % 1 != 0) | (steps < -1)
    if wrong.any():
        found = column[wrong].iloc[0]
        raise UserError(
            f"{_place(column, wrong)}: {found} is no step. "
            "Count from 0 in the order of training; -1 is the pre-trained model."
        )
    return steps.astype(int)


def _fractions(column: pd.Series) -> pd.Series:
    numbers, largest = _numbers(column), FULL_MARKS[str(column.name)]
    wrong = ~numbers.between(0, largest)
    if wrong.any():
        found = numbers[wrong].iloc[0]
        is_percent = column.name == "top1" and numbers.between(0, 100).all()
        remedy = "It looks like percent: name the column top1_percent." if is_percent else "Correct it."
        raise UserError(f"{_place(column, wrong)}: {found:g} should be from 0 to {largest}. {remedy}")
    return numbers / largest


def _numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = numbers.isna() | numbers.isin([float("inf"), float("-inf")])
    if wrong.any():
        found = column[wrong].iloc[0]
        raise UserError(f"{_place(column, wrong)}: {found!r} is no number. Write one, with a point and without %.")
    return numbers


def _require_unique(rows: pd.DataFrame) -> None:
    twice = rows[rows.duplicated(CELL, keep=False)]
    if len(twice):
        cell = twice.iloc[0]
        places = twice.index[(twice[CELL] == cell[CELL]).all(axis=1)]
        raise UserError(
            f"{places[0]} and {places[1]}: both give {cell.method}, step {cell.step}, on {cell.eval_task}. "
            "Keep one of them."
        )


def _place(column: pd.Series, wrong: pd.Series) -> str:
    return f"{column.index[wrong.to_numpy()][0]}, column {column.name}"


def _suffixes() -> str:
    return " or ".join(READERS)
