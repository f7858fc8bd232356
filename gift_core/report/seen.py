"""A class-incremental run: accuracy on all classes seen so far, step after step, as a chart and as a table."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from gift_core.metrics import ZERO_SHOT
from gift_core.report.course import Axis, course_chart
from gift_core.report.drawing import Chart
from gift_core.report.emphasis import is_crowded, quiet_last, styles_of
from gift_core.report.matrices import shade_of
from gift_core.report.record import RunRecord
from gift_core.report.words import label, number, plural

FOLDED_STEPS = 12  # beyond this the table of steps is folded


@dataclass(frozen=True)
class StepCell:
    """A method's accuracy after a step, its CSS class by the distance to zero-shot, and what the pointer shows."""

    text: str
    shade: str
    exact: str


@dataclass(frozen=True)
class StepRow:
    """A step: its number, the task it trained, the classes seen after it, zero-shot's accuracy, and each method's."""

    number: int
    task: str
    classes: int
    zero_shot: str
    cells: tuple[StepCell, ...]


@dataclass(frozen=True)
class StepTable:
    """The methods across, the steps down."""

    methods: tuple[str, ...]
    rows: tuple[StepRow, ...]
    is_long: bool


def seen_chart(record: RunRecord, seen: pd.DataFrame) -> Chart:
    """The course of every method over the number of classes seen."""
    order, steps = (*quiet_last(record, record.methods), ZERO_SHOT), len(record.tasks)
    counts = [plural(count, "class") for count in record.classes_seen]
    axis = Axis(
        places=record.classes_seen,
        title="classes seen",
        names=tuple(f"After step {at + 1} of {steps}\t{count}" for at, count in enumerate(counts)),
    )
    courses = {method: [float(value) for value in seen[method]] for method in order}
    return course_chart(courses, axis, styles=styles_of(record), gap=15 if is_crowded(record) else 19)


def step_table(record: RunRecord, seen: pd.DataFrame) -> StepTable:
    """Every accuracy of the chart."""
    methods = tuple(quiet_last(record, record.methods))
    rows = []
    for at, task in enumerate(record.tasks):
        untouched = float(seen[ZERO_SHOT].iloc[at])
        cells = tuple(_cell(method, float(seen[method].iloc[at]), untouched, at) for method in methods)
        rows.append(StepRow(at + 1, task, record.classes_seen[at], number(untouched), cells))
    return StepTable(methods, tuple(rows), len(rows) > FOLDED_STEPS)


def _cell(method: str, percent: float, untouched: float, at: int) -> StepCell:
    difference = percent - untouched
    sign = "+" if difference > 0 else ""
    exact = f"{label(method)} after step {at + 1}\t{number(percent)}\nto zero-shot\t{sign}{number(difference)}"
    return StepCell(number(percent), shade_of(difference), exact)
