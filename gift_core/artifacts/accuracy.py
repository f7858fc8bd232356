"""The accuracies a step adds, in one of two protocols.

Task-incremental: the step's model on every task so far, and every earlier model on the step's task. Class-incremental:
the step's model on all classes seen so far (eval_task "seen"), and the pre-trained model on the same ("seen:<task>").
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from gift_core.artifacts.atomic import broken
from gift_core.artifacts.tables import read_table, write_table

STAGE = "evaluate"
PRETRAINED = "pretrained"
SEEN = "seen"
PHASES = ("past", "current", "future", SEEN, PRETRAINED)
SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("step", pa.int64()),  # -1: the pre-trained model
        ("trained_task", pa.string()),  # the task learned last; "pretrained" at step -1
        ("eval_task", pa.string()),  # "seen": the classes of all tasks up to trained_task; or seen_until(task)
        ("phase", pa.string()),  # of PHASES
        ("top1", pa.float64()),  # 0-1
        ("n", pa.int64()),  # test images
    ]
)


def seen_until(task: str) -> str:
    """Returns the eval_task of the pre-trained model on the classes of all tasks up to `task`: "seen:<task>"."""
    return f"{SEEN}:{task}"


def task_seen_until(eval_task: str) -> str | None:
    """Returns the task that `eval_task` names as seen_until does, None where it is any other."""
    word, colon, task = eval_task.partition(":")
    return task if colon and word == SEEN else None


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


def read_all(folder: Path) -> pd.DataFrame:
    """Returns the rows of every accuracy file in `folder` and below it, files in the order of their paths.

    ContractError where there is none, or a cell (method, step, eval_task) comes twice.
    """
    paths = sorted(folder.rglob("*.parquet"))
    tables = [rows for rows in (read_accuracy(path)[0] for path in paths) if len(rows)]
    if not tables:
        raise broken(folder, "there should be accuracy files with rows", STAGE)
    rows = pd.concat(tables, ignore_index=True)
    twice = rows[rows.duplicated(["method", "step", "eval_task"])]
    if len(twice):
        cell = twice.iloc[0]
        what = f"each cell should come once; {cell.method}, step {cell.step}, on {cell.eval_task} comes again"
        raise broken(folder, what, STAGE)
    return rows


def _require_sound(path: Path, rows: pd.DataFrame) -> None:
    if rows.isna().any(axis=None):
        raise broken(path, "there should be no empty cell", STAGE)
    unknown = sorted(set(rows.phase) - set(PHASES))
    if unknown:
        raise broken(path, f"phase should be one of {', '.join(PHASES)}; found {unknown[0]!r}", STAGE)
    if not rows.top1.between(0, 1).all():
        raise broken(path, f"top1 should be a fraction from 0 to 1; found {rows.top1.max()}", STAGE)
    if not (rows.n > 0).all() or not (rows.step >= -1).all():
        raise broken(path, "n should be at least 1 and step at least -1", STAGE)
    if not ((rows.step == -1) == (rows.phase == PRETRAINED)).all():
        raise broken(path, "phase should be pretrained at step -1 and nowhere else", STAGE)
    if not ((rows.eval_task == SEEN) == (rows.phase == SEEN)).all():
        raise broken(path, f"phase should be {SEEN} where eval_task is {SEEN!r} and nowhere else", STAGE)
