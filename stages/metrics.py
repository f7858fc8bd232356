"""metrics FILE...: Transfer, Avg, Last and Forgetting of accuracy tables from any source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from .metrics_table import print_metrics
from .output import AsJson, note, print_json

Metrics = Mapping[str, float | None]
Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", help="CSV or Parquet files, or folders that contain them.", show_default=False),
]
PerTask = Annotated[bool, typer.Option("--per-task", help="Also print the metrics of each task (in JSON: by_task).")]


def metrics(files: Files, as_json: AsJson = False, per_task: PerTask = False) -> None:
    """Compute Transfer, Avg, Last and Forgetting from tables of accuracies.

    Columns: method, step, trained_task, eval_task, and top1 (0-1) or
    top1_percent (0-100). Steps count from 0 in the order of training; -1 is the
    pre-trained model, whose trained_task may be empty. A run that has not ended is
    scored as far as it goes. The optional column protocol is task_incremental (the
    default) or class_incremental. In a class-incremental run, each step has one row
    for the classes of all tasks so far, and eval_task is the task of the step.
    With --json the numbers have the format of metrics.json and are not rounded.

    Example: gift metrics rows.csv --per-task
    """
    from gift_core.artifacts.accuracy import read_accuracy_rows
    from gift_core.metrics import summarize
    from gift_core.partial_runs import finished_part

    rows, left_out = finished_part(read_accuracy_rows(files))
    for text in left_out:  # with --quiet, too: the numbers mean something else without it
        typer.echo(f"note: {text}", err=True)
    summaries = summarize(rows)
    by_method = {method: summary.metrics for method, summary in summaries.items()}
    by_task = {method: summary.by_task for method, summary in summaries.items()}
    _note_different_tasks(by_task)
    shown = by_task if per_task else {}
    if as_json:
        _print_json(by_method, shown)
        return
    steps = {method: str(len(summary.accuracies)) for method, summary in summaries.items()}
    print_metrics(by_method, extra=("Steps", steps))
    for method, tasks in shown.items():
        _print_tasks(method, tasks)


def _note_different_tasks(by_task: Mapping[str, Mapping[str, Metrics]]) -> None:
    if len({tuple(tasks) for tasks in by_task.values() if tasks}) > 1:
        note("note: not all methods learned the same tasks in the same order; do not compare them directly")


def _print_json(by_method: Mapping[str, Metrics], by_task: Mapping[str, Mapping[str, Metrics]]) -> None:
    extra = {method: {"by_task": tasks} for method, tasks in by_task.items()}
    combined = {method: {**row, **extra.get(method, {})} for method, row in by_method.items()}
    print_json(combined)


def _print_tasks(method: str, tasks: Mapping[str, Metrics]) -> None:
    if tasks:
        print_metrics(tasks, title=method, of="task")
    else:
        typer.echo(f"{method}: class-incremental, so there are no rows by task")
