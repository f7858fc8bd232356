"""Class-incremental runs: accuracy on all classes seen so far after every step, as a chart and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from gift_core.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.accuracy_tables import shade_of, tooltip
from gift_core.report.charts import (
    BOTTOM,
    TOP,
    Chart,
    Frame,
    Hover,
    Line,
    LineEnd,
    Point,
    Tick,
    labels_of,
    svg_path,
    thin_ticks,
)
from gift_core.report.highlight import QUIET, is_crowded, reading_order, styles_of
from gift_core.report.labels import ShadedCell, label, number, shorten
from gift_core.report.run_record import RunRecord

Curves = Mapping[str, Sequence[float]]
MAX_MARKED_STEPS = 25  # with more steps, lines have no point markers
MAX_TICKS = 12
MAX_OPEN_STEPS = 12  # with more steps, the table is folded


@dataclass(frozen=True)
class CurveAxis:
    """The x of each step (increasing integers), what x counts, and the heading of each step's tooltip."""

    positions: tuple[int, ...]
    title: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class StepRow:
    """A step: its number, the task it trained, the number of classes seen, and the accuracies, shaded by zero-shot."""

    number: int
    task: str
    classes: int
    zero_shot: str
    cells: tuple[ShadedCell, ...]


@dataclass(frozen=True)
class StepTable:
    """A column for each method, a row for each step."""

    methods: tuple[str, ...]
    rows: tuple[StepRow, ...]
    is_long: bool


def seen_chart(record: RunRecord, seen: pd.DataFrame) -> Chart:
    """The accuracy of every method by the number of classes seen. `seen` is in percent, see RunScores."""
    order, steps = (*reading_order(record, record.methods), ZERO_SHOT), len(record.tasks)
    counts = [plural(count, "class") for count in record.classes_seen]
    axis = CurveAxis(
        positions=record.classes_seen,
        title="classes seen",
        names=tuple(f"After step {index + 1} of {steps}\t{count}" for index, count in enumerate(counts)),
    )
    curves = {method: [float(value) for value in seen[method]] for method in order}
    return seen_curve_chart(curves, axis, styles=styles_of(record), gap=15 if is_crowded(record) else 19)


def seen_curve_chart(curves: Curves, axis: CurveAxis, *, styles: Mapping[str, str], gap: float) -> Chart:
    """One line per method; the line of the zero-shot model is dashed.

    Args:
        curves: accuracies in percent by method, in reading order, among them zero_shot.
        axis: the steps.
        styles: the CSS class of each method except zero_shot. Quiet lines are below the others.
        gap: minimum distance between the names at the ends of the lines.
    """
    frame = _frame(curves, axis, gap)
    points = {
        method: tuple((frame.x(x), frame.y(value)) for x, value in zip(axis.positions, curve, strict=True))
        for method, curve in curves.items()
    }
    ends = [
        LineEnd(method, shorten(label(method)), styles.get(method, "reference"), curve[-1])
        for method, curve in curves.items()
    ]
    return Chart(
        title="All classes seen so far",
        number="",
        description=_describe(curves),
        frame=frame,
        x_title=axis.title,
        y_title="accuracy (%)",
        lines=_lines(points, styles),
        x_ticks=tuple(Tick(frame.x(x), str(x)) for x in thin_ticks(axis.positions, MAX_TICKS)),
        y_ticks=tuple(Tick(frame.y(value), str(value)) for value in range(int(frame.y_min), 101, 10)),
        labels=labels_of(ends, frame, gap),
        hovers=_hovers(curves, axis, frame),
        zero_shot_path=svg_path(points[ZERO_SHOT]),
    )


def step_table(record: RunRecord, seen: pd.DataFrame) -> StepTable:
    """Every accuracy of the chart."""
    methods = tuple(reading_order(record, record.methods))
    rows = []
    for index, task in enumerate(record.tasks):
        zero_shot = float(seen[ZERO_SHOT].iloc[index])
        cells = tuple(_step_cell(method, float(seen[method].iloc[index]), zero_shot, index) for method in methods)
        rows.append(StepRow(index + 1, task, record.classes_seen[index], number(zero_shot), cells))
    return StepTable(methods, tuple(rows), len(rows) > MAX_OPEN_STEPS)


def _step_cell(method: str, percent: float, zero_shot: float, index: int) -> ShadedCell:
    exact = tooltip(f"{label(method)} after step {index + 1}", percent, zero_shot)
    return ShadedCell(number(percent), shade_of(percent - zero_shot), exact)


def _frame(curves: Curves, axis: CurveAxis, gap: float) -> Frame:
    """From the first step to the last. y starts at a multiple of ten below the lowest accuracy."""
    lowest = min(min(curve) for curve in curves.values())
    first, last = axis.positions[0], axis.positions[-1]
    return Frame(
        width=760, height=max(400.0, gap * len(curves) + TOP + BOTTOM), left=44, right=206, top=TOP, bottom=BOTTOM,
        x_min=float(first) if last > first else 0.0, x_max=last,
        y_min=10.0 * max(0, math.floor((lowest - 5) / 10)), y_max=100.0,
    )  # fmt: skip


def _lines(points: Mapping[str, tuple[Point, ...]], styles: Mapping[str, str]) -> tuple[Line, ...]:
    bare = QUIET in styles.values() or len(points[ZERO_SHOT]) > MAX_MARKED_STEPS
    quiet_first = sorted(styles, key=lambda method: styles[method] != QUIET)
    return tuple(
        Line(method, styles[method], svg_path(points[method]), () if bare else points[method]) for method in quiet_first
    )


def _hovers(curves: Curves, axis: CurveAxis, frame: Frame) -> tuple[Hover, ...]:
    """A band around each step that ends halfway to its neighbors."""
    middles = [(frame.x(one) + frame.x(other)) / 2 for one, other in pairwise(axis.positions)]
    edges = [float(frame.left), *middles, frame.x_end]
    hovers = []
    for index, (left, right) in enumerate(pairwise(edges)):
        rows = [axis.names[index], *(f"{label(method)}\t{number(curve[index])}" for method, curve in curves.items())]
        hovers.append(Hover(round(left, 1), round(right - left, 1), "\n".join(rows)))
    return tuple(hovers)


def _describe(curves: Curves) -> str:
    ends = ", ".join(f"{label(method)} {number(curve[-1])}%" for method, curve in curves.items())
    return f"Accuracy on all classes seen so far over {plural(len(curves[ZERO_SHOT]), 'step')}. At the end: {ends}."
