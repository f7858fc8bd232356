"""Line charts over the task sequence: accuracy of a task-incremental run (all tasks, each task) and the losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from gift_core.metrics import ZERO_SHOT
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
from gift_core.report.highlight import is_crowded, plotting_order, styles_of
from gift_core.report.labels import label, number, shorten
from gift_core.report.run_record import KL, RunRecord

PERCENT_TICKS = (0, 25, 50, 75, 100)
FEW_METHODS = 3  # with more methods, small charts print no value at the end of a line
MAX_TICKS = 12  # of the chart of all tasks and of the losses
MANY_TASKS = 8  # with more tasks, small charts label only some positions
MAX_BOUNDARIES = 25  # with more tasks, loss charts have no lines between tasks
LOSS_BINS = 240  # points per line over the whole sequence
MIN_BINS_PER_TASK = 8


@dataclass(frozen=True)
class TaskCurves:
    """Accuracies in percent after 0, 1, 2 ... tasks by method. `position` is that of the task, None for the mean."""

    title: str
    by_method: dict[str, pd.Series[float]]
    zero_shot: float
    position: int | None = None


def mean_chart(record: RunRecord) -> Chart:
    """Mean accuracy over all tasks after 0, 1, 2 ... tasks, with the method's name at the end of each line."""
    styles, gap = styles_of(record), 15 if is_crowded(record) else 19
    height = max(340, gap * (len(record.continued) + 1) + TOP + BOTTOM)
    frame = _frame(record, width=640, height=height, left=44, right=206, top=TOP, bottom=BOTTOM)
    means = {method: record.percent(method).mean(axis=1) for method in record.continued}
    zero_shot = float(record.percent(ZERO_SHOT).iloc[0].mean())
    ends = [
        LineEnd(method, shorten(label(method)), styles[method], float(curve.iloc[-1]))
        for method, curve in means.items()
    ]
    ends.append(LineEnd(ZERO_SHOT, label(ZERO_SHOT), "reference", zero_shot))
    return _accuracy_chart(record, TaskCurves("Mean accuracy over all tasks", means, zero_shot), frame, ends, gap)


def task_charts(record: RunRecord) -> list[Chart]:
    """A chart for each task: its accuracy before, at and after the step that trains it."""
    styles, few = styles_of(record), len(record.continued) <= FEW_METHODS
    frame = _frame(record, width=300, height=250, left=38, right=58 if few else 12, top=TOP_WITH_TRAINED, bottom=BOTTOM)
    charts = []
    for position, task in enumerate(record.tasks):
        by_method = {method: record.percent(method)[task] for method in record.continued}
        last = {method: float(curve.iloc[-1]) for method, curve in by_method.items() if few}
        ends = [LineEnd(method, "", styles[method], value) for method, value in last.items()]
        zero_shot = float(record.percent(ZERO_SHOT)[task].iloc[0])
        charts.append(_accuracy_chart(record, TaskCurves(task, by_method, zero_shot, position), frame, ends, 22))
    return charts


def panel_columns(count: int) -> int:
    """The number of charts per row on a wide screen: 3 or 4, whichever leaves fewer gaps."""
    return min((4, 3), key=lambda columns: (-count % columns, -columns))


def loss_charts(record: RunRecord) -> list[Chart]:
    """A chart for each loss in the order of the logs. x is the position in the task sequence."""
    return [_loss_chart(record, str(name), rows) for name, rows in record.losses.groupby("loss", sort=False)]


def _frame(record: RunRecord, **sizes: float) -> Frame:
    return Frame(x_max=len(record.tasks), y_max=100.0, **sizes)


def _accuracy_chart(record: RunRecord, curves: TaskCurves, frame: Frame, ends: list[LineEnd], gap: float) -> Chart:
    """`gap` is the minimum distance between labels."""
    position = curves.position
    return Chart(
        title=curves.title,
        number="" if position is None else str(position + 1),
        description=_describe(record, curves),
        frame=frame,
        x_title="tasks trained",
        y_title="accuracy (%)",
        lines=_accuracy_lines(record, curves, frame),
        x_ticks=tuple(Tick(frame.x(at), str(at)) for at in _labeled_positions(len(record.tasks), position)),
        y_ticks=tuple(Tick(frame.y(value), str(value)) for value in PERCENT_TICKS),
        labels=labels_of(ends, frame, gap),
        hovers=_hovers(record, curves, frame),
        zero_shot=frame.y(curves.zero_shot),
        trained=None if position is None else frame.x(position + 1),
    )


def _accuracy_lines(record: RunRecord, curves: TaskCurves, frame: Frame) -> tuple[Line, ...]:
    styles, lines = styles_of(record), []
    for method in plotting_order(record, curves.by_method):
        points = tuple((frame.x(at), frame.y(value)) for at, value in enumerate(curves.by_method[method]))
        lines.append(Line(method, styles[method], svg_path(points), () if is_crowded(record) else points))
    return tuple(lines)


def _labeled_positions(tasks: int, position: int | None) -> list[int]:
    """Some positions; in a small chart of a long sequence only both ends and the step that trains the task."""
    if position is None or tasks <= MANY_TASKS:
        return thin_ticks(range(tasks + 1), MAX_TICKS)
    return [0, position + 1] if position + 2 >= tasks else [0, position + 1, tasks]


def _hovers(record: RunRecord, curves: TaskCurves, frame: Frame) -> tuple[Hover, ...]:
    width, position = frame.x(1) - frame.x(0), curves.position
    hovers = []
    for at in range(len(record.tasks) + 1):
        moment = "Before training" if at == 0 else f"After {at} {record.tasks[at - 1]}"
        if position is not None and at > 0:
            moment += ", not trained yet" if at <= position else ", just trained" if at == position + 1 else ""
        rows = [moment, *(f"{label(method)}\t{number(curve.iloc[at])}" for method, curve in curves.by_method.items())]
        rows.append(f"Zero-shot\t{number(curves.zero_shot)}")
        hovers.append(Hover(round(frame.x(at) - width / 2, 1), round(width, 1), "\n".join(rows)))
    return tuple(hovers)


def _describe(record: RunRecord, curves: TaskCurves) -> str:
    ends = ", ".join(f"{label(method)} {number(curve.iloc[-1])}%" for method, curve in curves.by_method.items())
    position = curves.position
    trained = "" if position is None else f", trained at position {position + 1} of {len(record.tasks)}"
    return f"{curves.title}{trained}. Accuracy at the end: {ends}; zero-shot {number(curves.zero_shot)}%."


def _loss_chart(record: RunRecord, name: str, rows: pd.DataFrame) -> Chart:
    tasks = len(record.tasks)
    bins = max(LOSS_BINS // tasks, MIN_BINS_PER_TASK)
    methods = plotting_order(record, record.methods)
    curves = {method: _loss_points(rows[rows["method"] == method], bins) for method in methods}
    curves = {method: points for method, points in curves.items() if points}
    ticks = round_ticks(max((y for points in curves.values() for _, y in points if not math.isnan(y)), default=0.0))
    frame = Frame(width=460, height=250, left=52, right=12, top=TOP, bottom=BOTTOM, x_max=tasks, y_max=ticks[-1])
    styles = styles_of(record)
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
