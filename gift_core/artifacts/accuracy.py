"""Accuracies: the Parquet files that stage evaluate writes, and accuracy tables from any source (CSV or Parquet).

Each row is one test of one model. `protocol` says what a test image is classified among:

- task_incremental: the classes of its own task, `eval_task`. A step adds its own model on every task so far, and every
  earlier model on its task.
- class_incremental: the classes of all tasks up to and including `eval_task`. A step adds its own model
  and the pre-trained model; `eval_task` is the task learned last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from gift_core.artifacts.contract import broken, sha256_of
from gift_core.artifacts.model_folder import model_hash
from gift_core.artifacts.table_files import TableSchema, TextTable, read_table_file
from gift_core.artifacts.tables import read_table, write_table
from gift_core.errors import ContractError, UserError, did_you_mean, no_such_path
from gift_core.untrusted import parse_json

STAGE = "evaluate"
ENVIRONMENT = "environment"
MAX_IMAGES = "max_images"  # in the metadata, if there is a limit of the test images of each task
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
# Accuracy tables from any source.
TEXTS = ("method", "trained_task", "eval_task")
LARGEST = {"top1": 1, "top1_percent": 100}  # the accuracy's column, and its largest value
ROWS = TableSchema(required=(*TEXTS, "step"), optional=("protocol", *LARGEST), may_be_empty=["trained_task"])
KINDS = (".csv", ".parquet")
UNIQUE = ["method", "protocol", "step", "eval_task"]


def write_accuracy(path: Path, rows: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Writes the rows, sorted by step then as given.

    `metadata` has the hashes of every model and task that was read, of the own model's provenance.json and losses, the
    environment, and the limit of test images (noted_limit).
    """
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
    """Returns (rows, metadata) of the file <method>/<task>.parquet, or of the empty pretrained.parquet.

    ContractError if it is missing, breaks the contract, or is of another method or task than its path says.
    """
    table, metadata = read_table(path, SCHEMA, STAGE)
    rows: pd.DataFrame = table.to_pandas()
    _require_sound(path, rows)
    require_own(path, rows)
    return rows, metadata


def require_own(path: Path, rows: pd.DataFrame) -> None:
    """Raises ContractError unless the newest step is of the method and the task of the path <method>/<task>.parquet.

    pretrained.parquet has no rows.
    """
    own = [(path.parent.name, path.stem)] if path.stem != PRETRAINED else []
    newest = rows[rows.step == rows.step.max()][["method", "trained_task"]].drop_duplicates()
    found = list(newest.itertuples(index=False, name=None))
    if found != own:
        expected, seen = (
            " and ".join(f"{task} by {method}" for method, task in pairs) or "none" for pairs in (own, found)
        )
        raise broken(path, f"its newest step should be {expected}, it is {seen}", STAGE)


def input_hashes(models: Mapping[str, Path], tasks: Mapping[str, Path]) -> dict[str, str]:
    """Returns as metadata {"model:<name>": sha256 of its weights, "task:<name>": sha256 of its task.json}.

    A task.json holds the hashes of the task's tars.
    """
    hashes = {f"model:{name}": model_hash(folder) for name, folder in models.items()}
    return {**hashes, **{f"task:{name}": sha256_of(folder / "task.json") for name, folder in tasks.items()}}


def noted_limit(max_images: int | None) -> dict[str, str]:
    """Returns the limit of the test images of each task as metadata, nothing where there is none."""
    return {} if max_images is None else {MAX_IMAGES: str(max_images)}


def require_same_inputs(previous: Mapping[str, str], current: Mapping[str, str], method: str) -> None:
    """Raises ContractError where the step before was measured on another version of a model or task of `current`.

    Also where it was measured with another limit of test images. The start of a chain, on no task, has none.
    """
    changed = [key for key, value in previous.items() if key in current and current[key] != value]
    measured = any(key.startswith("task:") for key in previous)
    if measured and (MAX_IMAGES in previous) != (MAX_IMAGES in current):
        changed.append(MAX_IMAGES)
    if changed:
        raise ContractError(
            f"accuracy of {method} at the step before was measured on another {', '.join(sorted(changed))}. "
            "Run stage evaluate for that step again."
        )


def computed_with(environment: Mapping[str, str | int]) -> dict[str, str]:
    """Returns the environment (gift_core.provenance) as metadata of an accuracy file."""
    return {ENVIRONMENT: json.dumps(dict(environment))}


def environment_of(path: Path, metadata: Mapping[str, str]) -> dict[str, str | int]:
    """Returns the environment in the metadata of the accuracy file `path`, empty if it has none.

    ContractError if it is damaged.
    """
    text = metadata.get(ENVIRONMENT, "{}")
    try:
        found = parse_json(text)
    except ValueError as error:
        raise broken(path, f"its environment should be JSON, but {error}", STAGE) from error
    if not isinstance(found, dict):
        raise broken(path, f"its environment should be an object, it is {text}", STAGE)
    return found


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

    A folder means all .csv and .parquet files in it and below it, sorted by path. The columns of a file are method,
    step (-1: the pre-trained model), trained_task, eval_task, and either top1 (a fraction, 0-1) or top1_percent
    (0-100). `protocol` is optional; without it the rows are task_incremental. An empty trained_task at step -1 becomes
    "pretrained". Other columns are ignored. UserError names the file, the row (the line of a CSV file, the number of a
    Parquet row) and the column.
    """
    files = [file for path in paths for file in _files(path)]
    rows = pd.concat([_checked_rows(file) for file in files])
    if rows.empty:
        raise UserError(
            f"{', '.join(str(file) for file in files)}: no rows. Give a file with a row for each step and task."
        )
    _require_unique(rows)
    whole: pd.DataFrame = rows.reset_index(drop=True)
    return whole


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in KINDS and file.is_file()]
        if not inside:
            raise UserError(f"{path}: no {_suffixes()} file in it or below it. Name another folder, or a file.")
        return inside
    if not path.is_file():
        raise UserError(f"{no_such_path(path)} Name {_suffixes()} files, or folders with such files.")
    if path.suffix.lower() not in KINDS:
        raise UserError(f"{path}: not a {_suffixes()} file by its name. Write the rows as one of these.")
    return [path]


def _checked_rows(file: Path) -> pd.DataFrame:
    """Returns the rows of one file with checked values. The index is their position: "rows.csv: line 2"."""
    table = read_table_file(file, ROWS)
    index = pd.Index([f"{file}: {row.position}" for row in table.rows], dtype=object)
    texts = pd.DataFrame([row.cells for row in table.rows], index=index, columns=list(table.columns), dtype=str)
    accuracy = _accuracy_column(file, table)
    columns: dict[str, pd.Series] = {name: texts[name] for name in TEXTS}
    columns["protocol"] = _protocols(texts)
    columns["step"] = steps = _steps(texts["step"])
    columns["trained_task"] = _trained_tasks(texts["trained_task"], steps)
    rows: pd.DataFrame = pd.DataFrame({**columns, "top1": _fractions(texts[accuracy])})
    return rows


def _accuracy_column(file: Path, table: TextTable) -> str:
    """Returns the name of the column that has the accuracies."""
    found = [name for name in LARGEST if name in table.columns]
    if len(found) == 2:
        raise UserError(f"{file}: there are both top1 and top1_percent. Keep one of them.")
    if not found:
        what = "column 'top1' (a fraction, 0-1) or 'top1_percent' (0-100) is missing"
        raise UserError(f"{file}: {what}. {did_you_mean('top1', table.header)}")
    return found[0]


def _protocols(table: pd.DataFrame) -> pd.Series:
    if "protocol" not in table:
        return pd.Series(TASK_INCREMENTAL, index=table.index, dtype=object)
    protocols = table["protocol"]
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


def _trained_tasks(column: pd.Series, steps: pd.Series) -> pd.Series:
    empty = column == ""
    wrong = empty & (steps != PRETRAINED_STEP)
    if wrong.any():
        remedy = f"Write the task that step {steps[wrong].iloc[0]} trained."
        raise UserError(f"{_position(column, wrong)}: is empty. {remedy} Only step -1 has none.")
    return column.mask(empty, PRETRAINED)


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
    return " or ".join(KINDS)
