"""The files behind `dvc plots`: tidy CSV, one row a point (the plots themselves are declared in dvc.yaml)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gift_core.artifacts.atomic import write_atomically
from gift_core.report.record import RunRecord

ACCURACY_COLUMNS = ["method", "after", "after_step", "task", "task_step", "phase", "accuracy"]


def write_plots(folder: Path, record: RunRecord) -> None:
    """Write accuracy.csv (matrices and curves, in percent) and losses.csv (loss terms, averaged over steps)."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "accuracy.csv", accuracy_rows(record))
    _write(folder / "losses.csv", loss_rows(record))


def accuracy_rows(record: RunRecord) -> pd.DataFrame:
    """method, after (the task, "zero-shot" first), after_step 0..T, task, task_step, accuracy in percent.

    Of a class-incremental run the one task is "classes seen", and the zero-shot model is a method of its own.
    """
    return _cells(record) if record.seen is None else _course_on_seen(record.seen)


def _course_on_seen(seen: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (method, task, step + 1, "classes seen", 0, "current", round(float(percent), 3))
        for method in seen.columns
        for step, (task, percent) in enumerate(seen[method].items())
    ]
    course: pd.DataFrame = pd.DataFrame(rows, columns=ACCURACY_COLUMNS)
    return course


def _cells(record: RunRecord) -> pd.DataFrame:
    order = {task: position for position, task in enumerate(record.tasks)}
    rows = record.accuracy.assign(
        after=["zero-shot" if step < 0 else record.tasks[step] for step in record.accuracy["step"]],
        after_step=record.accuracy["step"] + 1,
        task=record.accuracy["eval_task"],
        task_step=[order[task] for task in record.accuracy["eval_task"]],
        accuracy=(record.accuracy["top1"] * 100.0).round(3),
    )
    methods = {method: position for position, method in enumerate(record.accuracy["method"].unique())}
    rows = rows.assign(order=rows["method"].map(methods)).sort_values(["order", "after_step", "task_step"])
    chosen: pd.DataFrame = rows[ACCURACY_COLUMNS]
    return chosen


def loss_rows(record: RunRecord) -> pd.DataFrame:
    """method, term, sequence_step (position of the task + share of its steps), value: twenty means a task."""
    losses = record.losses
    steps = losses.groupby(["method", "position"])["step"].transform("max") + 1
    share = ((losses["step"] * 20) // steps + 0.5) / 20
    binned = losses.assign(sequence_step=(losses["position"] + share).round(4))
    means = binned.groupby(["method", "term", "sequence_step"], sort=False)["value"].mean().round(6)
    tidy: pd.DataFrame = means.reset_index()
    return tidy


def _write(path: Path, rows: pd.DataFrame) -> None:
    with write_atomically(path) as temporary:
        rows.to_csv(temporary, index=False, lineterminator="\n")
