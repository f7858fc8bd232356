"""Accuracy files of whole methods: read, checked against each other, and measured by the run's protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.config.experiment import Config
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.metrics import (
    ZERO_SHOT,
    accuracy_matrix,
    accuracy_on_seen,
    is_class_incremental,
    metrics_by_method,
    with_zero_shot,
)

Metrics = Mapping[str, Mapping[str, float | None]]
# The columns of a result table, by protocol; "own" is the accuracy on each task right after its own training.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "task_incremental": ("transfer", "avg", "last", "forgetting", "own"),
    "class_incremental": ("avg", "last"),
}


@dataclass(frozen=True)
class Measured:
    """The zero-shot model and each method, measured.

    `figures`: the metrics and, task-incremental, "own", in percent. `matrices`, task-incremental: A in percent with the
    pre-trained row on top. `seen`, class-incremental: percent on all classes so far, a row a step, a column a method.
    """

    figures: Metrics
    matrices: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    seen: pd.DataFrame | None = None


def read_accuracies(
    layout: Layout, methods: tuple[str, ...], tasks: tuple[str, ...]
) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """All rows, and for each method the metadata of its last file, which vouch for the whole chain.

    ContractError where a file is missing, or two methods were measured with different models or images.
    """
    rows, hashes = [], {}
    for method in methods:
        for task in tasks:
            of_task, hashes[method] = read_accuracy(layout.accuracy(method, task))
            rows.append(of_task)
    _require_comparable(layout, hashes)
    return pd.concat(rows, ignore_index=True), hashes


def measure(layout: Layout, config: Config, accuracy: pd.DataFrame, methods: Sequence[str]) -> Measured:
    """The zero-shot model and `methods` by evaluation.protocol; ContractError for holes or another sequence."""
    names, tasks = (ZERO_SHOT, *methods), tuple(step.task for step in config.sequence)
    protocol = config.evaluation.protocol
    try:
        complete = with_zero_shot(accuracy)
        _require_protocol(complete, names, protocol)
        courses = {name: _COURSES[protocol](complete, name) * 100.0 for name in names}
        metrics = metrics_by_method(accuracy)
    except UserError as error:
        raise _broken(layout, str(error)) from error
    for name, course in courses.items():
        if tuple(course.index) != tasks:
            raise _broken(
                layout, f"{name} was trained on {', '.join(course.index)}, the sequence is {', '.join(tasks)}."
            )
    return _MEASURED[protocol](courses, {name: metrics[name] for name in names})


def own_task(matrix: pd.DataFrame) -> float:
    """Mean over the tasks of the accuracy right after their own step; `matrix` has the pre-trained row on top."""
    return float(np.diagonal(matrix.to_numpy(dtype=float)[1:]).mean())


def _with_matrices(courses: Mapping[str, pd.DataFrame], metrics: Metrics) -> Measured:
    top = courses[ZERO_SHOT].iloc[:1]
    matrices = {name: pd.concat([top, matrix]) for name, matrix in courses.items()}
    return Measured({name: {**metrics[name], "own": own_task(matrices[name])} for name in matrices}, matrices=matrices)


def _with_seen(courses: Mapping[str, pd.Series], metrics: Metrics) -> Measured:
    return Measured(metrics, seen=pd.DataFrame(courses))


_COURSES: Mapping[str, Callable[[pd.DataFrame, str], pd.DataFrame | pd.Series]] = {
    "task_incremental": accuracy_matrix,
    "class_incremental": accuracy_on_seen,
}
_MEASURED: Mapping[str, Callable[..., Measured]] = {
    "task_incremental": _with_matrices,
    "class_incremental": _with_seen,
}


def _require_protocol(rows: pd.DataFrame, methods: Sequence[str], protocol: str) -> None:
    for method in methods:
        found = "class_incremental" if is_class_incremental(rows, method) else "task_incremental"
        if found != protocol:
            raise UserError(f"accuracies of {method} are {found}, evaluation.protocol is {protocol}.")


def _require_comparable(layout: Layout, hashes: Mapping[str, Mapping[str, str]]) -> None:
    """Raise ContractError where two methods started from different models or were tested on different images."""
    seen: dict[str, tuple[str, str]] = {}
    for method, notes in hashes.items():
        for name, digest in notes.items():
            if name.startswith("task:") or name == "model:pretrained":
                first, expected = seen.setdefault(name, (method, digest))
                if digest != expected:
                    raise _broken(layout, f"{first} and {method} were measured with different versions of {name}.")


def _broken(layout: Layout, problem: str) -> ContractError:
    folder = layout.accuracy("method", "task").parent.parent
    return ContractError(f"{folder}: {problem} Re-make it with: dvc repro evaluate")
