"""Line charts: accuracies over the task sequence (of tasks, probes, all classes seen so far), and the losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from gift_core.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.charts import (
    BOTTOM,
    TOP,
    TOP_WITH_TRAINED,
    Chart,
    Frame,
    Hover,
    Line,
    LineEnd,
    Point,
    Tick,
    labels_of,
    round_ticks,
    svg_path,
    thin_ticks,
)
from gift_core.report.highlight import QUIET, is_crowded, plotting_order, reading_order, styles_of
from gift_core.report.labels import label, number, shorten
from gift_core.report.run_record import KL, RunRecord

FEW_METHODS = 3  # with more methods, small charts print no value at the end of a line
MAX_MARKED = 25  # with more points, lines have no markers
MAX_TICKS = 12  # of the large charts and of the losses
MANY_TASKS = 8  # with more tasks, small charts label only some positions
MAX_BOUNDARIES = 25  # with more tasks, loss charts have no lines between tasks
LOSS_BINS = 240  # points per line over the whole sequence
MIN_BINS_PER_TASK = 8

Curves = Mapping[str, Sequence[float]]  # percent by method, in reading order; the last one is zero_shot


@dataclass(frozen=True)
class CurveAxis:
    """The x of each point (increasing integers), what x counts, and the heading of each point's tooltip.

    `labeled`: the positions with a tick.
    """

    positions: tuple[int, ...]
    title: str
    names: tuple[str, ...]
    labeled: Sequence[int]


def mean_chart(record: RunRecord) -> Chart:
    """Mean accuracy over all tasks after 0, 1, 2 ... tasks, with the method's name at the end of each line."""
    return _overview(record, "Mean accuracy over all tasks", record.matrices)


def probe_chart(record: RunRecord) -> Chart:
    """Mean accuracy over the probes, the tasks that no step learns, after 0, 1, 2 ... tasks."""
    return _overview(record, "Mean accuracy over the probes", record.probes)


def task_charts(record: RunRecord) -> list[Chart]:
    """A chart for each task: its accuracy before, at and after the step that trains it."""
    return [_panel(record, record.matrices, task, position) for position, task in enumerate(record.tasks)]


def probe_charts(record: RunRecord) -> list[Chart]:
    """A chart for each probe."""
    return [_panel(record, record.probes, name) for name in record.probe_images]


def seen_chart(record: RunRecord, seen: pd.DataFrame) -> Chart:
    """The accuracy of every method by the number of classes seen. `seen` is in percent, see RunScores."""
    order, steps = (*reading_order(record, record.methods), ZERO_SHOT), len(record.tasks)
    names = tuple(
        f"After step {step} of {steps}\t{plural(count, 'class')}" for step, count in enumerate(record.classes_seen, 1)
    )
    axis = CurveAxis(record.classes_seen, "classes seen", names, thin_ticks(record.classes_seen, MAX_TICKS))
    curves = {method: seen[method].tolist() for method in order}
    return seen_curve_chart(curves, axis, styles=styles_of(record), gap=_gap(record))


def seen_curve_chart(curves: Curves, axis: CurveAxis, *, styles: Mapping[str, str], gap: float) -> Chart:
    """A chart of accuracies on all classes seen so far; y starts at a multiple of ten below the lowest one.

    Args:
        curves: see Curves.
        axis: the steps.
        styles: the CSS class of each method except zero_shot. Quiet lines are below the others.
        gap: minimum distance between the names at the ends of the lines.
    """
    first, last = axis.positions[0], axis.positions[-1]
    frame = Frame(
        width=760, height=max(400.0, gap * len(curves) + TOP + BOTTOM), left=44, right=206, top=TOP, bottom=BOTTOM,
        x_min=float(first) if last > first else 0.0, x_max=last,
        y_min=10.0 * max(0, math.floor((min(map(min, curves.values())) - 5) / 10)), y_max=100.0,
    )  # fmt: skip
    ends = _named_ends(curves, styles)
    return _curve_chart("All classes seen so far", curves, axis, frame, ends, styles=styles, gap=gap, y_step=10)


def panel_columns(count: int) -> int:
    """The number of charts per row on a wide screen: 3 or 4, whichever leaves fewer gaps."""
    return min((4, 3), key=lambda columns: (-count % columns, -columns))


def loss_charts(record: RunRecord) -> list[Chart]:
    """A chart for each loss in the order of the logs. x is the position in the task sequence."""
    return [_loss_chart(record, str(name), rows) for name, rows in record.losses.groupby("loss", sort=False)]


def _overview(record: RunRecord, title: str, percent: Mapping[str, pd.DataFrame]) -> Chart:
    curves = {method: percent[method].mean(axis=1).tolist() for method in (*record.continued, ZERO_SHOT)}
    styles, gap = styles_of(record), _gap(record)
    height = max(340, gap * len(curves) + TOP + BOTTOM)
    frame = Frame(640, height, left=44, right=206, top=TOP, bottom=BOTTOM, x_max=len(record.tasks), y_max=100.0)
    axis = _task_axis(record, thin_ticks(range(len(record.tasks) + 1), MAX_TICKS))
    return _curve_chart(title, curves, axis, frame, _named_ends(curves, styles), styles=styles, gap=gap)


def _panel(record: RunRecord, percent: Mapping[str, pd.DataFrame], name: str, position: int | None = None) -> Chart:
    """A small chart of one column of the tables. `position`: of the task that it is, None for a probe."""
    curves = {method: percent[method][name].tolist() for method in (*record.continued, ZERO_SHOT)}
    styles, few = styles_of(record), len(record.continued) <= FEW_METHODS
    frame = Frame(
        width=300, height=250, left=38, right=58 if few else 12, top=TOP if position is None else TOP_WITH_TRAINED,
        bottom=BOTTOM, x_max=len(record.tasks), y_max=100.0,
    )  # fmt: skip
    ends = [LineEnd(method, "", styles[method], curves[method][-1]) for method in record.continued if few]
    axis = _task_axis(record, _labeled_positions(len(record.tasks), position), position)
    return _curve_chart(name, curves, axis, frame, ends, styles=styles, gap=22, position=position)


def _gap(record: RunRecord) -> int:
    """The minimum distance between the names at the ends of the lines."""
    return 15 if is_crowded(record) else 19


def _named_ends(curves: Curves, styles: Mapping[str, str]) -> list[LineEnd]:
    return [
        LineEnd(method, shorten(label(method)), styles.get(method, "reference"), curve[-1])
        for method, curve in curves.items()
    ]


def _labeled_positions(tasks: int, position: int | None) -> list[int]:
    """In a small chart of a long sequence only both ends and the step that trains the task."""
    if tasks <= MANY_TASKS:
        return list(range(tasks + 1))
    trained = [] if position is None else [position + 1]
    return [0, *trained] if position is not None and position + 2 >= tasks else [0, *trained, tasks]


def _task_axis(record: RunRecord, labeled: Sequence[int], position: int | None = None) -> CurveAxis:
    names = ["Before training"]
    for at, task in enumerate(record.tasks, 1):
        moment = ""
        if position is not None:
            moment = ", not trained yet" if at <= position else ", just trained" if at == position + 1 else ""
        names.append(f"After {at} {task}{moment}")
    return CurveAxis(tuple(range(len(names))), "tasks trained", tuple(names), labeled)


def _curve_chart(
    title: str,
    curves: Curves,
    axis: CurveAxis,
    frame: Frame,
    ends: Sequence[LineEnd],
    *,
    styles: Mapping[str, str],
    gap: float,
    y_step: int = 25,
    position: int | None = None,
) -> Chart:
    """One line per method; that of the zero-shot model is dashed. `gap`: minimum distance between the labels."""
    points = {
        method: tuple((frame.x(x), frame.y(value)) for x, value in zip(axis.positions, curve, strict=True))
        for method, curve in curves.items()
    }
    bare = QUIET in styles.values() or len(axis.positions) > MAX_MARKED
    quiet_first = plotting_order(styles, (name for name in curves if name != ZERO_SHOT))
    trained = "" if position is None else f", trained at position {position + 1} of {axis.positions[-1]}"
    at_end = ", ".join(f"{label(method)} {number(curve[-1])}%" for method, curve in curves.items())
    return Chart(
        title=title,
        number="" if position is None else str(position + 1),
        description=f"{title}{trained}. Accuracy at the end: {at_end}.",
        frame=frame,
        x_title=axis.title,
        y_title="accuracy (%)",
        lines=tuple(
            Line(name, styles[name], svg_path(points[name]), () if bare else points[name]) for name in quiet_first
        ),
        x_ticks=tuple(Tick(frame.x(at), str(at)) for at in axis.labeled),
        y_ticks=tuple(Tick(frame.y(value), str(value)) for value in range(int(frame.y_min), 101, y_step)),
        labels=labels_of(ends, frame, gap),
        hovers=_hovers(curves, axis, frame),
        zero_shot_path=svg_path(points[ZERO_SHOT]),
        trained=None if position is None else frame.x(position + 1),
    )


def _hovers(curves: Curves, axis: CurveAxis, frame: Frame) -> tuple[Hover, ...]:
    """A band around each point that ends halfway to its neighbors."""
    middles = [(frame.x(one) + frame.x(other)) / 2 for one, other in pairwise(axis.positions)]
    edges = [float(frame.left), *middles, frame.x_end]
    hovers = []
    for index, (left, right) in enumerate(pairwise(edges)):
        rows = [axis.names[index], *(f"{label(method)}\t{number(curve[index])}" for method, curve in curves.items())]
        hovers.append(Hover(round(left, 1), round(right - left, 1), "\n".join(rows)))
    return tuple(hovers)


def _loss_chart(record: RunRecord, name: str, rows: pd.DataFrame) -> Chart:
    tasks = len(record.tasks)
    bins = max(LOSS_BINS // tasks, MIN_BINS_PER_TASK)
    styles = styles_of(record)
    methods = plotting_order(styles, record.methods)
    curves = {method: _loss_points(rows[rows["method"] == method], bins) for method in methods}
    curves = {method: points for method, points in curves.items() if points}
    ticks = round_ticks(max((y for points in curves.values() for _, y in points if not math.isnan(y)), default=0.0))
    frame = Frame(width=460, height=250, left=52, right=12, top=TOP, bottom=BOTTOM, x_max=tasks, y_max=ticks[-1])
    lines = tuple(
        Line(method, styles[method], svg_path([(frame.x(x), frame.y(y)) for x, y in points]))
        for method, points in curves.items()
    )
    means = ", ".join(f"{label(method)} {_mean_loss(rows, method)}" for method in curves)
    return Chart(
        title=name,
        number="",
        description=f"{name} loss over {tasks} tasks. Mean over all iterations: {means}.",
        frame=frame,
        x_title="task",
        y_title="weighted KL divergence" if name.endswith(KL) else "weighted loss",
        lines=lines,
        x_ticks=tuple(Tick(frame.x(at + 0.5), str(at + 1)) for at in thin_ticks(range(tasks), MAX_TICKS)),
        y_ticks=tuple(Tick(frame.y(value), f"{value:g}") for value in ticks),
        boundaries=tuple(frame.x(at) for at in range(1, tasks)) if tasks <= MAX_BOUNDARIES else (),
    )


def _loss_points(rows: pd.DataFrame, bins: int) -> list[Point]:
    """Binned means of one method's loss. x = position of the task + fraction of its iterations; NaN ends each task."""
    points: list[Point] = []
    for position, of_task in rows.groupby("position", sort=True):
        start = float(str(position))
        count = int(of_task["iteration"].max()) + 1
        bin_of_row = (of_task["iteration"] * min(bins, count)) // count
        for index, value in of_task.groupby(bin_of_row, sort=True)["value"].mean().items():
            points.append((round(start + (int(str(index)) + 0.5) / min(bins, count), 4), float(value)))
        points.append((start + 1.0, math.nan))
    return points


def _mean_loss(rows: pd.DataFrame, method: str) -> str:
    return number(float(rows.loc[rows["method"] == method, "value"].mean()))
