"""Accuracies: the Parquet files that stage evaluate writes, and accuracy tables from any source (CSV or Parquet).

Each row is one test of one model. `protocol` says what a test image is classified among:

- task_incremental: the classes of its own task, `eval_task`. A step adds its own model on every task so far, and every
  earlier model on its task.
- class_incremental: the classes of all tasks up to and including `eval_task`. A step adds its own model
  and the pre-trained model; `eval_task` is the task learned last.
- cross_domain: the classes of all tasks of the file. A step tests all models on all tasks so far anew, so of a method
  the file of the newest step counts alone (read_accuracy_rows).

Rows of the phase "probe" are tests on tasks that no step learns, among the classes of `eval_task`. Each step adds its
own model, the first step the pre-trained model, too.

Rows of any source are checked before they are scored: whose they are, and whether all are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError

from gift_core.artifacts.contract import parse, read_table, sha256_of, write_table
from gift_core.artifacts.model_folder import model_hash
from gift_core.artifacts.table_files import TableSchema, read_table_file
from gift_core.errors import UserError, did_you_mean, no_such_path
from gift_core.protocols import CLASS_INCREMENTAL, PROTOCOLS, TASK_INCREMENTAL, Protocol
from gift_core.quantities import first_names

STAGE = "evaluate"
ENVIRONMENT = "environment"
MAX_IMAGES = "max_images"  # in the metadata, if there is a limit of the test images of each task
PRETRAINED = "pretrained"
PRETRAINED_STEP = -1
PROBE = "probe"
SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("protocol", pa.string()),  # the name of one of PROTOCOLS
        ("step", pa.int64()),  # -1: the pre-trained model
        ("trained_task", pa.string()),  # the task learned last; "pretrained" at step -1
        ("eval_task", pa.string()),
        ("phase", pa.string()),  # past, current, future, pretrained or probe
        ("top1", pa.float64()),  # 0-1
        ("n", pa.int64()),  # test images
    ]
)
# Accuracy tables from any source.
LARGEST = {"top1": 1, "top1_percent": 100}  # the accuracy's column, and its largest value
REMEDIES = {
    "step": "Count from 0 in the order of training; -1 is the pre-trained model.",
    "top1": "It is a fraction, with a point and without %: name the column of percent top1_percent.",
}
ROWS = TableSchema(
    required=("method", "trained_task", "eval_task", "step"),
    optional=("protocol", "phase", "seed", *LARGEST),
    may_be_empty=["trained_task", "phase"],
)
KINDS = (".csv", ".parquet")


def write_accuracy(path: Path, rows: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Writes the rows, sorted by step then as given.

    `metadata` has the hashes of every model and task that was read, of the own model's provenance.json and losses, the
    environment, and the limit of test images (MAX_IMAGES).
    """
    ordered = rows[SCHEMA.names].sort_values("step", kind="stable")
    write_table(path, pa.Table.from_pandas(ordered, schema=SCHEMA, preserve_index=False), metadata)


def write_empty_accuracy(path: Path, metadata: Mapping[str, str]) -> None:
    """Writes an accuracy file without rows: the start of every method's chain."""
    write_table(path, SCHEMA.empty_table(), metadata)


def read_accuracy(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns (rows, metadata) of the file <method>/<task>.parquet, or of the empty pretrained.parquet.

    ContractError if it is missing or damaged.
    """
    table, metadata = read_table(path, SCHEMA, STAGE)
    return table.to_pandas(), metadata


def read_probe(path: Path) -> tuple[float, int]:
    """Returns the accuracy (0-1) of the pre-trained model and the number of test images, which stage probe wrote."""
    (row,) = read_table(path, SCHEMA, PROBE)[0].to_pylist()
    return row["top1"], row["n"]


def input_hashes(models: Mapping[str, Path], tasks: Mapping[str, Path], *, kind: str = "task") -> dict[str, str]:
    """Returns as metadata {"model:<name>": sha256 of its weights, "task:<name>": sha256 of its task.json, which has
    the hashes of the tars}. The `kind` of a task is "task" or PROBE."""
    hashes = {f"model:{name}": model_hash(folder) for name, folder in models.items()}
    return {**hashes, **{f"{kind}:{name}": sha256_of(folder / "task.json") for name, folder in tasks.items()}}


def computed_with(environment: Mapping[str, str | int]) -> dict[str, str]:
    """Returns the environment (gift_core.provenance) as metadata of an accuracy file."""
    return {ENVIRONMENT: json.dumps(dict(environment))}


def environment_of(path: Path, metadata: Mapping[str, str]) -> dict[str, str | int]:
    """Returns the environment in the metadata of the accuracy file `path`, empty if it has none.

    ContractError if it is damaged.
    """
    return parse(dict[str, str | int], metadata.get(ENVIRONMENT, "{}").encode(), path, STAGE)


def read_accuracy_rows(paths: Iterable[Path]) -> pd.DataFrame:
    """Returns the columns seed, method, protocol, step, trained_task, eval_task, phase, top1 (0-1) of all files.

    A folder means all .csv and .parquet files in it and below it, sorted by path. The columns of a file are method,
    step (-1: the pre-trained model), trained_task, eval_task, and either top1 (a fraction, 0-1) or top1_percent
    (0-100). `protocol` is optional; without it the rows are task_incremental. An empty trained_task at step -1 becomes
    "pretrained". `seed` tells the runs of a method apart, and is 0 without the column. `phase` is "probe" for a test on
    a task that no step learns. Other columns are ignored. Of the cross-domain rows of a method with a seed, the file of
    its newest step counts alone: each step tests all models anew. UserError names the file, the row (the line of a CSV
    file, the number of a Parquet row) and the column.
    """
    files = dict.fromkeys(file for path in paths for file in _files(path))
    rows = pd.DataFrame([{"at": at, "file": str(file), **row} for file in files for at, row in _rows_of(file)])
    if rows.empty:
        raise UserError(f"{', '.join(map(str, files))}: no rows. Give a file with a row for each step and task.")
    newest = rows.groupby(["method", "seed"])["step"].transform("max")
    is_newest = rows.groupby(["method", "seed", "file"])["step"].transform("max") == newest
    is_renewed = rows["protocol"].map(lambda name: PROTOCOLS[name].renews_matrix)
    rows = rows[is_newest | ~is_renewed | (rows["phase"] == PROBE)]
    first = rows.groupby(["method", "seed", "protocol", "step", "eval_task"])["at"].transform("first")
    for row, at_first in zip(rows.itertuples(), first, strict=True):
        if row.at != at_first:
            problem = f"both give {row.method}, step {row.step}, on {row.eval_task}"
            raise UserError(f"{at_first} and {row.at}: {problem}. Keep one of them, or add the column seed.")
    return rows.drop(columns=["at", "file", "top1_percent"]).reset_index(drop=True)


def _files(path: Path) -> list[Path]:
    kinds = " or ".join(KINDS)
    if path.is_dir():
        inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in KINDS and file.is_file()]
        if not inside:
            raise UserError(f"{path}: no {kinds} file in it or below it. Name another folder, or a file.")
        return inside
    if not path.is_file() or path.suffix.lower() not in KINDS:
        problem = f"{path}: not a {kinds} file by its name." if path.is_file() else no_such_path(path)
        raise UserError(f"{problem} Name {kinds} files, or folders with such files.")
    return [path]


class _Row(BaseModel, allow_inf_nan=False):
    """A row of a table from any source, whose cells are texts."""

    method: str
    seed: int = 0
    protocol: Protocol = TASK_INCREMENTAL
    step: Annotated[int, Field(ge=PRETRAINED_STEP)]
    trained_task: str
    eval_task: str
    phase: str = ""
    top1: Annotated[float, Field(ge=0, le=1)] = 0
    top1_percent: Annotated[float, Field(ge=0, le=100)] = 0


def _rows_of(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the position of each row ("rows.csv: line 2"), and its checked values."""
    header, lines = read_table_file(file, ROWS)
    columns = [name for name in LARGEST if name in header]
    if len(columns) != 1:
        problem = "there should be one column 'top1' (a fraction, 0-1) or 'top1_percent' (0-100)"
        raise UserError(f"{file}: {problem}. {did_you_mean('top1', header)}")
    for line in lines:
        at = f"{file}: {line.position}"
        try:
            row = _Row.model_validate(line.cells).model_dump()
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            column = str(fault["loc"][0])
            problem = f"{fault['msg'].removeprefix('Input ')}, it is {fault['input']!r}"
            raise UserError(f"{at}, column {column}: {problem}. {REMEDIES.get(column, 'Correct it.')}") from None
        if not row["trained_task"] and row["step"] != PRETRAINED_STEP:
            problem = f"is empty. Write the task that step {row['step']} trained. Only step -1 has none."
            raise UserError(f"{at}, column trained_task: {problem}")
        accuracy = row[columns[0]] / LARGEST[columns[0]]
        yield at, {**row, "trained_task": row["trained_task"] or PRETRAINED, "top1": accuracy}


def protocol_of(rows: pd.DataFrame, method: str) -> Protocol:
    """Returns the protocol of the method's rows. UserError if they have more than one."""
    protocols = sorted(set(rows.loc[rows["method"] == method, "protocol"]))
    if len(protocols) != 1:
        problem = f"protocol is {' and '.join(protocols)}. Keep the rows of one protocol, or give the method two names."
        raise UserError(f"accuracies of {method}: {problem}")
    return PROTOCOLS[protocols[0]]


def without_probes(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the tests on tasks that a step learns."""
    return rows[rows["phase"] != PROBE] if "phase" in rows else rows  # without it there are no probes


def probe_table(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """Returns the accuracies (0-1) on the probes: a row for the pre-trained model (-1) and each step, a column each.

    It is empty without probes. UserError for rows that are missing.
    """
    of_method: pd.DataFrame = rows[rows["method"] == method]
    probes = of_method[of_method["phase"] == PROBE] if "phase" in of_method else of_method.iloc[:0]
    table: pd.DataFrame = probes.pivot(index="step", columns="eval_task", values="top1")
    order = list(dict.fromkeys(probes["eval_task"]))
    steps = sorted({PRETRAINED_STEP, *of_method["step"]}) if order else []
    table = table.reindex(index=steps, columns=order)
    gaps = [f"step {step} on the probe {name}" for name in order for step in table.index[table[name].isna()]]
    _require_none(gaps, method, "Add them, or leave out the probe.")
    return table


def own_rows(rows: pd.DataFrame, method: str) -> tuple[pd.DataFrame, list[str]]:
    """Returns the method's rows from step 0 on, and its tasks in the order of training. UserError as task_order."""
    of_steps: pd.DataFrame = rows[(rows["method"] == method) & (rows["step"] != PRETRAINED_STEP)]
    return of_steps, task_order(of_steps, method)


def task_order(rows: pd.DataFrame, method: str) -> list[str]:
    """Returns the tasks by the step that trained them. UserError unless steps are 0, 1, 2 ... with one task each."""
    pairs = rows[["step", "trained_task"]].drop_duplicates().sort_values("step", kind="stable")
    steps = [int(step) for step in pairs["step"]]
    order = [str(task) for task in pairs["trained_task"]]
    if not steps or steps != list(range(len(steps))) or len(set(order)) < len(order):
        listed = ", ".join(f"{step} ({task})" for step, task in zip(steps, order, strict=True)) or "none"
        problem = f"steps are {listed}; expected 0, 1, 2 ..., each with a trained task of its own"
        raise UserError(f"accuracies of {method}: {problem}. Count the steps from 0 in the order of training.")
    return order


def require_complete(matrix: pd.DataFrame, method: str) -> None:
    """Raises UserError, which names the rows, where an accuracy matrix has gaps."""
    missing = matrix.isna().to_numpy()
    future = np.triu(np.ones_like(missing), k=1)
    if future.any() and (missing == future).all():
        raise UserError(
            f"accuracies of {method}: no task was tested before its own step, so Transfer and Avg do not exist. Test "
            f"every step on every task. Class-incremental rows need the column protocol, with {CLASS_INCREMENTAL.name}."
        )
    gaps = [f"step {step} on {matrix.columns[task]}" for step, task in np.argwhere(missing)]
    _require_none(gaps, method, "Run stage evaluate, or add these rows.")


def require_pretrained(rows: pd.DataFrame, order: Sequence[str], method: str) -> None:
    """Raises UserError where the pre-trained model was not tested on one of the tasks in `order`."""
    gaps = [f"step {PRETRAINED_STEP} on {task}" for task in order if task not in set(rows["eval_task"])]
    _require_none(gaps, method, "Add these rows, or leave out step -1.")


def _require_none(gaps: Sequence[str], method: str, remedy: str) -> None:
    if gaps:
        raise UserError(f"accuracies of {method}: missing: {first_names(gaps)}. {remedy}")


def finished_part(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Returns the rows that metrics.summarize can score, and a text on each method of which some are left out.

    Left out are a method's last step if it was not tested on all tasks learned so far, and the tests on tasks that no
    other step has learned. All other gaps stay, for summarize to refuse. Class-incremental rows have neither.
    """
    parts: list[pd.DataFrame] = []
    texts: list[str] = []
    learned: dict[str, list[str]] = {}  # by method, in the order of training
    for method, part in rows.groupby("method", sort=False):
        try:
            order = own_rows(part, str(method))[1]
        except UserError:  # which summarize raises again
            order = []
        if order and all(PROTOCOLS[name].has_matrix for name in part["protocol"].unique()):
            last = len(order) - 1
            tested = set(part.loc[part["step"] == last, "eval_task"])
            untested = [task for task in order if task not in tested] if last else []
            others = [task for task in dict.fromkeys(without_probes(part)["eval_task"]) if task not in order]
            done = order[:-1] if untested else order
            reason = f"Tests on tasks that no step has learned are left out: {first_names(others)}."
            if untested:
                reason = f"Step {last} ({order[last]}) is left out: it was not tested on {first_names(untested)}."
            if untested or others:
                texts.append(f"{method}: scored up to step {len(done) - 1} ({done[-1]}). {reason}")
            part = part[(part["step"] < len(done)) & (part["eval_task"].isin(done) | (part["phase"] == PROBE))]
            learned[str(method)] = done
        parts.append(part)
    kept = pd.concat(parts).sort_index()
    tasks_of_first = next(iter(learned.values()), list(kept["eval_task"]))
    pretrained = (kept["step"] == PRETRAINED_STEP) & ~kept["method"].isin(list(learned))  # a method of its own
    return kept[~pretrained | kept["eval_task"].isin(tasks_of_first) | (kept["phase"] == PROBE)], texts
