"""Accuracies: the Parquet files that stage evaluate writes, and accuracy rows from anywhere (CSV or Parquet).

Each row is one test of one model. `protocol` says what a test image is classified among:

- task_incremental: the classes of its own task, `eval_task`. A step adds its own model on every task so far, and every
  earlier model on its task.
- class_incremental: the classes of all tasks up to and including `eval_task`. A step adds its own model
  and the pre-trained model; `eval_task` is the task learned last.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gift_core.artifacts.atomic import broken
from gift_core.artifacts.tables import read_table, write_table
from gift_core.errors import UserError, did_you_mean

STAGE = "evaluate"
PRETRAINED = "pretrained"
PRETRAINED_STEP = -1
TASK_INCREMENTAL = "task_incremental"
CLASS_INCREMENTAL = "class_incremental"
PHASES: Mapping[str, tuple[str, ...]] = {
    TASK_INCREMENTAL: ("past", "current", "future", PRETRAINED),
    CLASS_INCREMENTAL: ("current", PRETRAINED),
}
SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("protocol", pa.string()),  # a key of PHASES
        ("step", pa.int64()),  # -1: the pre-trained model
        ("trained_task", pa.string()),  # the task learned last; "pretrained" at step -1
        ("eval_task", pa.string()),
        ("phase", pa.string()),  # one of PHASES of the protocol
        ("top1", pa.float64()),  # 0-1
        ("n", pa.int64()),  # test images
    ]
)
# Accuracy rows from anywhere.
TEXTS = ("method", "trained_task", "eval_task")
LARGEST = {"top1": 1, "top1_percent": 100}  # the accuracy's column, and its largest value
COLUMNS = (*TEXTS, "protocol", "step", *LARGEST)
UNIQUE = ["method", "protocol", "step", "eval_task"]


def write_accuracy(path: Path, rows: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Writes the rows, sorted by step then as given; `metadata` names every model and task read by its sha256."""
    ordered = rows[SCHEMA.names].sort_values("step", kind="stable")
    table = pa.Table.from_pandas(ordered, schema=SCHEMA, preserve_index=False)
    _require_sound(path, table.to_pandas())
    if table.num_rows == 0:
        raise broken(path, "there should be one row at least", STAGE)
    write_table(path, table, metadata)


def write_empty_accuracy(path: Path, metadata: Mapping[str, str]) -> None:
    """Writes an accuracy file without rows: the start of every method's chain."""
    write_table(path, SCHEMA.empty_table(), metadata)


def read_accuracy(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns (rows, metadata); ContractError where the file is missing or breaks the contract."""
    table, metadata = read_table(path, SCHEMA, STAGE)
    rows: pd.DataFrame = table.to_pandas()
    _require_sound(path, rows)
    return rows, metadata


def _require_sound(path: Path, rows: pd.DataFrame) -> None:
    if rows.isna().any(axis=None):
        raise broken(path, "there should be no empty value", STAGE)
    _require_phases(path, rows)
    if not rows.top1.between(0, 1).all():
        raise broken(path, f"top1 should be a fraction from 0 to 1; found {rows.top1.max()}", STAGE)
    if not (rows.n > 0).all() or not (rows.step >= PRETRAINED_STEP).all():
        raise broken(path, "n should be at least 1 and step at least -1", STAGE)
    if not ((rows.step == PRETRAINED_STEP) == (rows.phase == PRETRAINED)).all():
        raise broken(path, "phase should be pretrained at step -1 and nowhere else", STAGE)
    learned = rows[(rows.protocol == CLASS_INCREMENTAL) & (rows.step != PRETRAINED_STEP)]
    if not (learned.eval_task == learned.trained_task).all():
        raise broken(path, "eval_task should be trained_task where protocol is class_incremental", STAGE)


def _require_phases(path: Path, rows: pd.DataFrame) -> None:
    for protocol, phase in rows[["protocol", "phase"]].drop_duplicates().itertuples(index=False):
        if protocol not in PHASES:
            raise broken(path, f"protocol should be one of {', '.join(PHASES)}; found {protocol!r}", STAGE)
        if phase not in PHASES[protocol]:
            expected = f"phase of {protocol} rows should be one of {', '.join(PHASES[protocol])}"
            raise broken(path, f"{expected}; found {phase!r}", STAGE)


def read_accuracy_rows(paths: Iterable[Path]) -> pd.DataFrame:
    """Returns the columns method, protocol, step, trained_task, eval_task, top1 (0-1) of all files, in their order.

    A folder stands for every .csv and .parquet file in it and below it, by their paths; other columns are left out.
    Each file has method, step (-1: the pre-trained model), trained_task, eval_task, and either top1 (a fraction, 0-1)
    or top1_percent (0-100). `protocol` is optional; without it the rows are task_incremental. UserError names the file,
    the row (counted from 1, without the header) and the column.
    """
    files = [file for path in paths for file in _files(path)]
    rows = pd.concat([_checked_columns(file, _read_columns(file)) for file in files])
    if rows.empty:
        raise UserError(
            f"{', '.join(str(file) for file in files)}: no rows. Give a file with a row for each step and task."
        )
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
        raise UserError(f"{path}: not a {_suffixes()} file by its name. Write the rows as one of these.")
    return [path]


def _read_columns(file: Path) -> pd.DataFrame:
    """The file's columns, names stripped, values unchecked; the index says where a row is: "rows.csv: row 1"."""
    try:
        table = READERS[file.suffix.lower()](file)
    except (csv.Error, pa.ArrowException, UnicodeError, OSError) as error:
        raise UserError(
            f"{file}: cannot be read as {file.suffix.lower()}: {error}. Write it again, a CSV in UTF-8."
        ) from error
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    table.index = pd.Index([f"{file}: row {number}" for number in range(1, len(table) + 1)], dtype=object)
    return table


def _read_csv(file: Path) -> pd.DataFrame:
    """All values as text: a task may be called 007 or NA, and an error can quote a number as it was written."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        filled = [values for values in csv.reader(lines, skipinitialspace=True) if values]
    if not filled:
        raise UserError(f"{file}: is empty. Give it a header and a row for each step and task.")
    header, *rows = filled
    for number, values in enumerate(rows, start=1):
        if len(values) != len(header):
            raise UserError(
                f"{file}: row {number}: {len(values)} values, but the header has {len(header)}. "
                "Separate values by commas, and write numbers with a point."
            )
    table: pd.DataFrame = pd.DataFrame(rows, columns=header, dtype=str)
    return table


def _read_parquet(file: Path) -> pd.DataFrame:
    """All stored columns, including those that pandas would make the index."""
    table: pd.DataFrame = pq.ParquetFile(file).read().to_pandas(ignore_metadata=True)
    return table


READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {".csv": _read_csv, ".parquet": _read_parquet}


def _checked_columns(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    accuracy = _accuracy_column(file, table)
    columns = {name: _texts(table[name]) for name in TEXTS}
    columns["protocol"] = _protocols(table)
    rows: pd.DataFrame = pd.DataFrame({**columns, "step": _steps(table["step"]), "top1": _fractions(table[accuracy])})
    return rows


def _accuracy_column(file: Path, table: pd.DataFrame) -> str:
    """Checks the names of the columns; returns the one that holds the accuracies."""
    for name in (*TEXTS, "step"):
        if name not in table:
            raise UserError(f"{file}: column {name!r} is missing. {did_you_mean(name, table.columns)}")
    for name in table.columns[table.columns.duplicated()].intersection(COLUMNS):
        raise UserError(f"{file}: column {name!r} comes twice. Keep one of them.")
    found = [name for name in LARGEST if name in table]
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
        raise UserError(f"{_position(column, empty)}: is empty. Write a name there.")
    return texts


def _protocols(table: pd.DataFrame) -> pd.Series:
    if "protocol" not in table:
        return pd.Series(TASK_INCREMENTAL, index=table.index, dtype=object)
    protocols = _texts(table["protocol"])
    wrong = ~protocols.isin(list(PHASES))
    if wrong.any():
        found = protocols[wrong].iloc[0]
        raise UserError(f"{_position(protocols, wrong)}: unknown protocol {found!r}. {did_you_mean(found, PHASES)}")
    return protocols


def _steps(column: pd.Series) -> pd.Series:
    steps = _numbers(column)
    wrong = (steps % 1 != 0) | (steps < PRETRAINED_STEP)
    if wrong.any():
        found = column[wrong].iloc[0]
        raise UserError(
            f"{_position(column, wrong)}: {found} is not a step. "
            "Count from 0 in the order of training; -1 is the pre-trained model."
        )
    return steps.astype(int)


def _fractions(column: pd.Series) -> pd.Series:
    numbers, largest = _numbers(column), LARGEST[str(column.name)]
    wrong = ~numbers.between(0, largest)
    if wrong.any():
        found = numbers[wrong].iloc[0]
        is_percent = column.name == "top1" and numbers.between(0, 100).all()
        remedy = "It looks like percent: name the column top1_percent." if is_percent else "Correct it."
        raise UserError(f"{_position(column, wrong)}: {found:g} should be from 0 to {largest}. {remedy}")
    return numbers / largest


def _numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = numbers.isna() | numbers.isin([float("inf"), float("-inf")])
    if wrong.any():
        found = column[wrong].iloc[0]
        raise UserError(f"{_position(column, wrong)}: {found!r} is not a number. Write one, with a point, without %.")
    return numbers


def _require_unique(rows: pd.DataFrame) -> None:
    repeated = rows[rows.duplicated(UNIQUE, keep=False)]
    if len(repeated):
        row = repeated.iloc[0]
        positions = repeated.index[(repeated[UNIQUE] == row[UNIQUE]).all(axis=1)]
        raise UserError(
            f"{positions[0]} and {positions[1]}: both give {row.method}, step {row.step}, on {row.eval_task}. "
            "Keep one of them."
        )


def _position(column: pd.Series, wrong: pd.Series) -> str:
    return f"{column.index[wrong.to_numpy()][0]}, column {column.name}"


def _suffixes() -> str:
    return " or ".join(READERS)
