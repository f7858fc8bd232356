"""The sections with accuracies over the task sequence: of tasks, of probes, of all classes seen so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from gift_core.method.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.charts import BOTTOM, TOP, TOP_WITH_TRAINED, Chart, Frame, thin_ticks
from gift_core.report.heat_tables import accuracy_matrices, probe_table, published_matrices, step_table
from gift_core.report.highlight import QUIET, is_crowded, reading_order, styles_of
from gift_core.report.labels import label, number, shorten
from gift_core.report.run_record import RunRecord, Section

FEW_METHODS = 3  # with more methods, small charts print no value at the end of a line
MAX_MARKED = 25  # with more points, lines have no markers
MAX_TICKS = 12  # of the large charts and of the losses
MANY_TASKS = 8  # with more tasks, small charts label only some positions

Curves = Mapping[str, Sequence[float]]  # percent by method, in reading order; the last one is zero_shot


def accuracies(record: RunRecord) -> Iterator[Section]:
    """Yields forgetting and the matrices of a task-incremental run, or the classes seen, and what probes show."""
    if not record.methods:
        return
    shown: dict[str, Any]
    if record.seen is None:
        steps = {task: step for step, task in enumerate(record.tasks, 1)}
        shown = _charts(record, "Mean accuracy over all tasks", record.matrices, steps)
        yield Section("forgetting", "Forgetting", "forgetting.html.j2", shown)
        matrices = accuracy_matrices(record, reading_order(record, record.methods))
        shown = {"matrices": matrices, "published_matrices": published_matrices(record)}
        yield Section("matrices", "Matrices", "matrices.html.j2", shown)
    else:
        shown = {"seen_chart": seen_chart(record, record.seen), "steps": step_table(record, record.seen)}
        yield Section("seen", "Classes seen", "seen_classes.html.j2", shown)
    if record.probes:
        shown = _charts(record, "Mean accuracy over the probes", record.probes, dict.fromkeys(record.probe_images))
        yield Section("probes", "Zero-shot kept", "probes.html.j2", shown | {"probes": probe_table(record)})


def _charts(
    record: RunRecord, title: str, percent: Mapping[str, pd.DataFrame], trained: Mapping[str, int | None]
) -> dict[str, Any]:
    """The mean of the columns of `percent`, a small chart of each, and how many of these are in a row.

    `trained`: the step that trains a column, None for a probe. Rows have 3 or 4 charts, whichever leaves fewer gaps.
    """
    charts = [_panel(record, percent, name, step) for name, step in trained.items()]
    columns = min((4, 3), key=lambda columns: (-len(charts) % columns, -columns))
    return {"overview": overview_chart(record, title, percent), "charts": charts, "columns": columns}


def seen_chart(record: RunRecord, seen: pd.DataFrame) -> Chart:
    """The accuracy of every method by the number of classes seen. `seen` is in percent, see RunScores."""
    steps = {
        count: f"After step {step} of {len(record.tasks)}\t{plural(count, 'class')}"
        for step, count in enumerate(record.classes_seen, 1)
    }
    curves = {method: seen[method].tolist() for method in (*reading_order(record, record.methods), ZERO_SHOT)}
    return seen_curve_chart(curves, "classes seen", steps, styles=styles_of(record), gap=_gap(record))


def seen_curve_chart(
    curves: Curves, x_title: str, steps: Mapping[int, str], *, styles: Mapping[str, str], gap: float
) -> Chart:
    """A chart of accuracies on all classes seen so far; y starts at a multiple of ten below the lowest one.

    Args:
        curves: see Curves.
        x_title: what the positions of the steps count.
        steps: the position of each step, and the heading of its tooltip.
        styles: the CSS class of each method except zero_shot. Quiet lines are below the others.
        gap: minimum distance between the names at the ends of the lines.
    """
    first, last = min(steps), max(steps)
    frame = Frame(
        width=760, height=max(400.0, gap * len(curves) + TOP + BOTTOM), left=44, right=206, top=TOP, bottom=BOTTOM,
        x_min=float(first) if last > first else 0.0, x_max=last,
        y_min=10.0 * max(0, math.floor((min(map(min, curves.values())) - 5) / 10)), y_max=100.0,
    )  # fmt: skip
    chart = _accuracy_chart("All classes seen so far", curves, frame, steps, styles, gap)
    return replace(chart, x_title=x_title, y_ticks={value: str(value) for value in range(int(frame.y_min), 101, 10)})


def overview_chart(record: RunRecord, title: str, percent: Mapping[str, pd.DataFrame]) -> Chart:
    """The mean of the columns after 0, 1, 2 ... tasks, with the method's name at the end of each line."""
    curves = {method: percent[method].mean(axis=1).tolist() for method in (*record.continued, ZERO_SHOT)}
    gap, tasks = _gap(record), len(record.tasks)
    height = max(340, gap * len(curves) + TOP + BOTTOM)
    frame = Frame(640, height, left=44, right=206, top=TOP, bottom=BOTTOM, x_max=tasks, y_max=100.0)
    steps = {0: "Before training"} | {at: f"After {at} {task}" for at, task in enumerate(record.tasks, 1)}
    return _accuracy_chart(title, curves, frame, steps, styles_of(record), gap)


def _panel(record: RunRecord, percent: Mapping[str, pd.DataFrame], name: str, trained: int | None) -> Chart:
    """A small chart of one column, the accuracy on a task over all steps."""
    curves = {method: percent[method][name].tolist() for method in (*record.continued, ZERO_SHOT)}
    few, tasks, steps = len(record.continued) <= FEW_METHODS, len(record.tasks), {0: "Before training"}
    frame = Frame(
        width=300, height=250, left=38, right=58 if few else 12, top=TOP if trained is None else TOP_WITH_TRAINED,
        bottom=BOTTOM, x_max=tasks, y_max=100.0,
    )  # fmt: skip
    for at, task in enumerate(record.tasks, 1):
        moment = "" if trained is None or at > trained else ", just trained" if at == trained else ", not trained yet"
        steps[at] = f"After {at} {task}{moment}"
    labeled = list(steps)
    if tasks > MANY_TASKS:  # only both ends and the step that trains the task, and not two ticks side by side
        labeled = [0, tasks] if trained is None else [0, trained, tasks] if trained + 1 < tasks else [0, trained]
    ends = dict.fromkeys(record.continued if few else (), "")
    chart = _accuracy_chart(name, curves, frame, steps, styles_of(record), 22, trained)
    return replace(chart, x_ticks={at: str(at) for at in labeled}, ends=ends)


def _gap(record: RunRecord) -> int:
    """The minimum distance between the names at the ends of the lines."""
    return 15 if is_crowded(record) else 19


def _accuracy_chart(
    title: str,
    curves: Curves,
    frame: Frame,
    steps: Mapping[int, str],
    styles: Mapping[str, str],
    gap: float,
    trained: int | None = None,
) -> Chart:
    """`steps`: the x of each point and the heading of its tooltip. `gap`, `trained`: see Chart."""
    moment = "" if trained is None else f", trained at position {trained} of {max(steps)}"
    at_end = ", ".join(f"{label(method)} {number(curve[-1])}%" for method, curve in curves.items())
    rows = {method: [f"{label(method)}\t{number(value)}" for value in curve] for method, curve in curves.items()}
    return Chart(
        title=title,
        description=f"{title}{moment}. Accuracy at the end: {at_end}.",
        frame=frame,
        curves={method: list(zip(steps, curve, strict=True)) for method, curve in curves.items()},
        styles=styles,
        x_title="tasks trained",
        x_ticks={at: str(at) for at in thin_ticks([*steps], MAX_TICKS)},
        y_title="accuracy (%)",
        y_ticks={value: str(value) for value in range(0, 101, 25)},
        marked=QUIET not in styles.values() and len(steps) <= MAX_MARKED,
        ends={method: shorten(label(method)) for method in curves},
        gap=gap,
        hovers={at: "\n".join(each) for at, *each in zip(steps, steps.values(), *rows.values(), strict=True)},
        trained=trained,
    )
