"""The sections with accuracies over the task sequence: of tasks, of probes, of all classes seen so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gift_core.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.charts import BOTTOM, TOP, TOP_WITH_TRAINED, Chart, Frame, line_chart, thin_ticks
from gift_core.report.heat_tables import accuracy_matrices, probe_table, published_matrices, step_table
from gift_core.report.highlight import QUIET, is_crowded, reading_order, styles_of
from gift_core.report.labels import label, number, shorten
from gift_core.report.run_record import RunRecord, Section

FEW_METHODS = 3  # with more methods, small charts print no value at the end of a line
MAX_MARKED = 25  # with more points, lines have no markers
MAX_TICKS = 12  # of the large charts and of the losses
MANY_TASKS = 8  # with more tasks, small charts label only some positions
MAX_OPEN_ROWS = 12  # with more steps, their table is folded
MAX_OPEN_CHARTS = 4  # with more probes, their charts are folded

Curves = Mapping[str, Sequence[float]]  # percent by method, in reading order; the last one is zero_shot


def accuracies(record: RunRecord) -> Iterator[Section]:
    """Yields forgetting and the matrices of a task-incremental run, or the classes seen, and what probes show."""
    if not record.methods:
        return
    shown: dict[str, Any]
    if record.seen is None:
        shown = {"mean_chart": mean_chart(record), "task_charts": task_charts(record)}
        shown["columns"] = panel_columns(len(record.tasks))
        yield Section("forgetting", "Forgetting", "forgetting.html.j2", shown)
        matrices = accuracy_matrices(record, reading_order(record, record.methods))
        shown = {"matrices": matrices, "published_matrices": published_matrices(record)}
        yield Section("matrices", "Matrices", "matrices.html.j2", shown)
    else:
        shown = {"seen_chart": seen_chart(record, record.seen), "steps": step_table(record, record.seen)}
        yield Section("seen", "Classes seen", "seen_classes.html.j2", {**shown, "max_open_rows": MAX_OPEN_ROWS})
    if record.probes:
        charts = probe_charts(record)
        shown = {"probes": probe_table(record), "probe_chart": probe_chart(record), "probe_charts": charts}
        shown |= {"columns": panel_columns(len(charts)), "max_open_charts": MAX_OPEN_CHARTS}
        yield Section("probes", "Zero-shot kept", "probes.html.j2", shown)


@dataclass(frozen=True)
class CurveAxis:
    """The x of each point (increasing integers), what x counts, and the heading of each point's tooltip.

    `labeled`: the positions with a tick.
    """

    positions: Sequence[int]
    title: str
    names: Sequence[str]
    labeled: Sequence[int]


def mean_chart(record: RunRecord) -> Chart:
    """Mean accuracy over all tasks after 0, 1, 2 ... tasks, with the method's name at the end of each line."""
    return _overview(record, "Mean accuracy over all tasks", record.matrices)


def probe_chart(record: RunRecord) -> Chart:
    """Mean accuracy over the probes, the tasks that no step learns, after 0, 1, 2 ... tasks."""
    return _overview(record, "Mean accuracy over the probes", record.probes)


def task_charts(record: RunRecord) -> list[Chart]:
    """A chart for each task: its accuracy before, at and after the step that trains it."""
    return [_panel(record, record.matrices, task, step) for step, task in enumerate(record.tasks, 1)]


def probe_charts(record: RunRecord) -> list[Chart]:
    """A chart for each probe."""
    return [_panel(record, record.probes, name) for name in record.probe_images]


def seen_chart(record: RunRecord, seen: pd.DataFrame) -> Chart:
    """The accuracy of every method by the number of classes seen. `seen` is in percent, see RunScores."""
    counts, steps = record.classes_seen, len(record.tasks)
    names = [f"After step {step} of {steps}\t{plural(count, 'class')}" for step, count in enumerate(counts, 1)]
    axis = CurveAxis(counts, "classes seen", names, thin_ticks(counts, MAX_TICKS))
    curves = {method: seen[method].tolist() for method in (*reading_order(record, record.methods), ZERO_SHOT)}
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
    return _accuracy_chart("All classes seen so far", curves, axis, frame, _names(curves), styles, gap=gap, y_step=10)


def panel_columns(count: int) -> int:
    """The number of charts per row on a wide screen: 3 or 4, whichever leaves fewer gaps."""
    return min((4, 3), key=lambda columns: (-count % columns, -columns))


def _overview(record: RunRecord, title: str, percent: Mapping[str, pd.DataFrame]) -> Chart:
    curves = {method: percent[method].mean(axis=1).tolist() for method in (*record.continued, ZERO_SHOT)}
    height, gap = max(340, _gap(record) * len(curves) + TOP + BOTTOM), _gap(record)
    frame = Frame(640, height, left=44, right=206, top=TOP, bottom=BOTTOM, x_max=len(record.tasks), y_max=100.0)
    axis = _task_axis(record, thin_ticks(range(len(record.tasks) + 1), MAX_TICKS))
    return _accuracy_chart(title, curves, axis, frame, _names(curves), styles_of(record), gap=gap)


def _panel(record: RunRecord, percent: Mapping[str, pd.DataFrame], name: str, step: int | None = None) -> Chart:
    """A small chart of one column of the tables. `step`: what trains it, from 1; None for a probe."""
    curves = {method: percent[method][name].tolist() for method in (*record.continued, ZERO_SHOT)}
    few, tasks = len(record.continued) <= FEW_METHODS, len(record.tasks)
    frame = Frame(
        width=300, height=250, left=38, right=58 if few else 12, top=TOP if step is None else TOP_WITH_TRAINED,
        bottom=BOTTOM, x_max=tasks, y_max=100.0,
    )  # fmt: skip
    labeled = list(range(tasks + 1))
    if tasks > MANY_TASKS:  # only both ends and the step that trains the task, and not two ticks side by side
        labeled = [0, tasks] if step is None else [0, step] if step + 1 >= tasks else [0, step, tasks]
    ends = dict.fromkeys(record.continued, "") if few else {}
    axis = _task_axis(record, labeled, step)
    return _accuracy_chart(name, curves, axis, frame, ends, styles_of(record), gap=22, step=step)


def _gap(record: RunRecord) -> int:
    """The minimum distance between the names at the ends of the lines."""
    return 15 if is_crowded(record) else 19


def _names(curves: Curves) -> dict[str, str]:
    return {method: shorten(label(method)) for method in curves}


def _task_axis(record: RunRecord, labeled: Sequence[int], step: int | None = None) -> CurveAxis:
    names = ["Before training"]
    for at, task in enumerate(record.tasks, 1):
        moment = ""
        if step is not None:
            moment = ", not trained yet" if at < step else ", just trained" if at == step else ""
        names.append(f"After {at} {task}{moment}")
    return CurveAxis(range(len(names)), "tasks trained", names, labeled)


def _accuracy_chart(
    title: str,
    curves: Curves,
    axis: CurveAxis,
    frame: Frame,
    ends: Mapping[str, str],
    styles: Mapping[str, str],
    *,
    gap: float,
    y_step: int = 25,
    step: int | None = None,
) -> Chart:
    """`ends` and `gap`: see line_chart. `step`: the position at which the task of the chart is trained."""
    hovers = {}
    for index, (at, name) in enumerate(zip(axis.positions, axis.names, strict=True)):
        rows = (f"{label(method)}\t{number(curve[index])}" for method, curve in curves.items())
        hovers[float(at)] = "\n".join([name, *rows])
    trained = "" if step is None else f", trained at position {step} of {axis.positions[-1]}"
    at_end = ", ".join(f"{label(method)} {number(curve[-1])}%" for method, curve in curves.items())
    return line_chart(
        title,
        {method: list(zip(axis.positions, curve, strict=True)) for method, curve in curves.items()},
        frame,
        styles=styles,
        description=f"{title}{trained}. Accuracy at the end: {at_end}.",
        x_axis=(axis.title, {at: str(at) for at in axis.labeled}),
        y_axis=("accuracy (%)", {value: str(value) for value in range(int(frame.y_min), 101, y_step)}),
        marked=QUIET not in styles.values() and len(axis.positions) <= MAX_MARKED,
        ends=ends,
        gap=gap,
        hovers=hovers,
        trained=step,
    )
