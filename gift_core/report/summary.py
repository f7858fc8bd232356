"""What `gift show` prints, as the report computes it: the result in sentences, and accuracies by method and task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gift_core.artifacts.accuracy import CLASS_INCREMENTAL, TASK_INCREMENTAL
from gift_core.artifacts.report_json import SUMMARY_METRICS, rounded
from gift_core.metrics import ZERO_SHOT
from gift_core.mini.miniature import BENCHMARK
from gift_core.quantities import plural
from gift_core.report.highlight import baseline_method, best_method, headline, name_in_text
from gift_core.report.labels import number
from gift_core.report.run_record import RunRecord

TaskRow = dict[str, float | int | None]


def run_summary(record: RunRecord) -> dict[str, Any]:
    """The content of summary.json (gift_core.artifacts.report_json has the format)."""
    published = record.published.benchmark.title if record.published else None
    return {
        "experiment": record.experiment,
        "benchmark": BENCHMARK if record.miniature.is_benchmark else published,
        "miniature_model": record.miniature.model,
        "note": record.miniature.note,
        "protocol": TASK_INCREMENTAL if record.seen is None else CLASS_INCREMENTAL,
        "result": result_sentences(record),
        "best_method": best_method(record) if record.methods else None,
        "tasks": list(record.tasks),
        "methods": {
            method: {**_metrics(record, method), "by_task": accuracies_by_task(record, method)}
            for method in (ZERO_SHOT, *record.methods)
        },
    }


def result_sentences(record: RunRecord) -> list[str]:
    """What the run showed: what the baseline and the best method forgot, kept of unseen tasks, and have at the end.

    The headline says it for a single task, where nothing can be forgotten, and for a class-incremental run, which has
    neither Transfer nor Forgetting.
    """
    if not record.methods or record.seen is not None or len(record.tasks) == 1:
        return ["".join(headline(record))]
    best, baseline = best_method(record), baseline_method(record)
    methods = [best] if baseline is None else [baseline, best]
    tasks = plural(len(record.tasks), "task") + record.miniature.of_benchmark
    last = [f"{name_in_text(record, method)} {number(record.metrics[method]['last'])}%" for method in reversed(methods)]
    return [
        f"After {tasks}, {_forgotten(record, methods)}.",
        f"On tasks not learned yet, {_unseen(record, methods)}.",
        f"At the end, over all tasks: {', '.join(last)}, zero-shot model {number(record.metrics[ZERO_SHOT]['last'])}%.",
    ]


def accuracies_by_task(record: RunRecord, method: str) -> dict[str, TaskRow]:
    """The accuracies of the method on each task, before it was learned, right after, and at the end.

    The accuracy before is that of the model from which the step starts. A separate model for each task has none at the
    end. In a class-incremental run, each step has the accuracies of the zero-shot model and of the method on all
    classes seen so far.
    """
    if record.seen is not None:
        zero_shot, seen = record.seen[ZERO_SHOT], record.seen[method]
        rows = zip(record.tasks, record.classes_seen, zero_shot, seen, strict=True)
        return {task: _step_row(classes, float(before), float(after)) for task, classes, before, after in rows}
    percent, tasks = record.percent(method), record.tasks
    starts = [0] * len(tasks) if method in record.restarted else range(len(tasks))
    return {
        task: _task_row(
            before=float(percent[task].iloc[start]),
            after=float(percent[task].iloc[position + 1]),
            end=None if method in record.separate_models else float(percent[task].iloc[-1]),
        )
        for position, (task, start) in enumerate(zip(tasks, starts, strict=True))
    }


def _task_row(*, before: float, after: float, end: float | None) -> TaskRow:
    return {
        "before_percent": rounded(before),
        "after_percent": rounded(after),
        "end_percent": rounded(end),
        "difference_points": None if end is None else rounded(end - after),
    }


def _step_row(classes: int, zero_shot: float, after: float) -> TaskRow:
    return {
        "classes_seen": classes,
        "zero_shot_percent": rounded(zero_shot),
        "after_percent": rounded(after),
        "difference_points": rounded(after - zero_shot),
    }


def _metrics(record: RunRecord, method: str) -> TaskRow:
    """The metrics of metrics.json with their units. Those of separate models mean nothing: None."""
    values = {} if method in record.separate_models else record.metrics[method]
    return {key: rounded(values.get(name)) for name, key in SUMMARY_METRICS.items()}


def _forgotten(record: RunRecord, methods: Sequence[str]) -> str:
    clauses: list[str] = []
    before = ""
    for method in methods:
        name, points = name_in_text(record, method), record.metrics[method]["forgetting"] or 0.0
        amount, verb = number(abs(points)), "lost" if points > 0 else "gained"
        if amount == "0.0":
            clauses.append(f"{name} has lost nothing")
        elif verb == before:
            clauses.append(f"{name} {amount}")
        else:
            before = verb
            clauses.append(f"{name} has {verb} {amount} points {'of' if points > 0 else 'on'} what it had learned")
    return " and ".join(clauses)


def _unseen(record: RunRecord, methods: Sequence[str]) -> str:
    clauses: list[str] = []
    zero_shot = record.metrics[ZERO_SHOT]["transfer"] or 0.0
    for method in methods:
        name, points = name_in_text(record, method), (record.metrics[method]["transfer"] or 0.0) - zero_shot
        amount, side = number(abs(points)), "above" if points > 0 else "below"
        reference = "it" if clauses else "the zero-shot model"
        distance = f"{amount} points {side}" if amount != "0.0" else "level with"
        clauses.append(f"{name} is {distance} {reference}")
    return " and ".join(clauses)
