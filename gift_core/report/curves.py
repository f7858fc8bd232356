"""The picture of forgetting: accuracy over the sequence, one chart for the mean and one for each task."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from gift_core.metrics import ZERO_SHOT
from gift_core.report.drawing import Chart, Frame, Hover, Label, Line, Tick, path_of, spread
from gift_core.report.emphasis import is_crowded, quiet_first, styles_of
from gift_core.report.record import RunRecord
from gift_core.report.words import label, number, short

PERCENT_TICKS = (0, 25, 50, 75, 100)
FEW_METHODS = 3  # up to here each small chart has room for a value at every line's end
MANY_TASKS = 8  # beyond this a small chart has no room for every position's number


@dataclass(frozen=True)
class End:
    """What stands at the end of a line: whose line it is, the words, and the line's last value."""

    method: str
    text: str
    style: str
    value: float


def mean_chart(record: RunRecord) -> Chart:
    """Mean accuracy over all tasks, seen or not, after each position of the sequence; a name at every line's end."""
    styles, gap = styles_of(record), 15 if is_crowded(record) else 19
    height = max(320, gap * (len(record.continued) + 1) + 60)
    frame = _frame(record, width=640, height=height, left=44, right=206, top=14, bottom=32)
    means = {method: record.percent(method).mean(axis=1) for method in record.continued}
    zero_shot = float(record.percent(ZERO_SHOT).iloc[0].mean())
    ends = [
        End(method, f"{number(curve.iloc[-1])} {short(label(method))}", styles[method], float(curve.iloc[-1]))
        for method, curve in means.items()
    ]
    ends.append(End(ZERO_SHOT, f"{number(zero_shot)} {label(ZERO_SHOT)}", "reference", zero_shot))
    return _chart(record, "All tasks, mean accuracy", "", means, frame, ends, gap=gap, zero_shot=zero_shot)


def task_charts(record: RunRecord) -> list[Chart]:
    """A chart for each task: what every method knows of it before, at and after the moment it is trained."""
    styles, few = styles_of(record), len(record.continued) <= FEW_METHODS
    frame = _frame(record, width=300, height=190, left=34, right=44 if few else 12, top=20, bottom=24)
    charts = []
    for position, task in enumerate(record.tasks):
        curves = {method: record.percent(method)[task] for method in record.continued}
        lasts = {method: float(curve.iloc[-1]) for method, curve in curves.items() if few}
        ends = [End(method, number(value), styles[method], value) for method, value in lasts.items()]
        zero_shot = float(record.percent(ZERO_SHOT)[task].iloc[0])
        number_of_task = str(position + 1)
        charts.append(
            _chart(record, task, number_of_task, curves, frame, ends, gap=15, zero_shot=zero_shot, position=position)
        )
    return charts


def columns_for(count: int) -> int:
    """How many charts stand side by side on a wide screen: three or four, whichever leaves fewer holes."""
    return min((4, 3), key=lambda columns: (-count % columns, -columns))


def _frame(record: RunRecord, **sizes: float) -> Frame:
    return Frame(x_max=len(record.tasks), y_max=100.0, **sizes)


def _chart(
    record: RunRecord,
    title: str,
    ordinal: str,
    curves: dict[str, pd.Series[float]],
    frame: Frame,
    ends: list[End],
    *,
    gap: float,
    zero_shot: float,
    position: int | None = None,
) -> Chart:
    heights = spread([frame.y(end.value) + 4 for end in ends], gap, frame.top + 4, frame.y_end)
    labels = tuple(
        Label(end.method, end.text, end.style, frame.x_end + 8, height)
        for end, height in zip(ends, heights, strict=True)
    )
    return Chart(
        title=title,
        number=ordinal,
        description=_describe(record, title, curves, zero_shot, position),
        frame=frame,
        lines=_lines(record, curves, frame),
        x_ticks=tuple(Tick(frame.x(at), str(at)) for at in _positions(len(record.tasks), position)),
        y_ticks=tuple(Tick(frame.y(value), str(value)) for value in PERCENT_TICKS),
        labels=labels,
        hovers=_hovers(record, curves, frame, zero_shot, position),
        zero_shot=frame.y(zero_shot),
        trained=None if position is None else frame.x(position + 1),
    )


def _lines(record: RunRecord, curves: dict[str, pd.Series[float]], frame: Frame) -> tuple[Line, ...]:
    styles, lines = styles_of(record), []
    for method in quiet_first(record, curves):
        points = tuple((frame.x(at), frame.y(value)) for at, value in enumerate(curves[method]))
        lines.append(Line(method, styles[method], path_of(points), () if is_crowded(record) else points))
    return tuple(lines)


def _positions(tasks: int, position: int | None) -> list[int]:
    """Which numbers stand under a chart: all, or in a small chart of a long sequence the ends and the task's own."""
    if position is None or tasks <= MANY_TASKS:
        return list(range(tasks + 1))
    return [0, position + 1] if position + 2 >= tasks else [0, position + 1, tasks]


def _hovers(
    record: RunRecord, curves: dict[str, pd.Series[float]], frame: Frame, zero_shot: float, position: int | None
) -> tuple[Hover, ...]:
    width = frame.x(1) - frame.x(0)
    hovers = []
    for at in range(len(record.tasks) + 1):
        moment = "Before training" if at == 0 else f"After {at} {record.tasks[at - 1]}"
        if position is not None and at > 0:
            moment += ", not trained yet" if at <= position else ", just trained" if at == position + 1 else ""
        rows = [moment, *(f"{label(method)}\t{number(curve.iloc[at])}" for method, curve in curves.items())]
        rows.append(f"Zero-shot\t{number(zero_shot)}")
        hovers.append(Hover(round(frame.x(at) - width / 2, 1), round(width, 1), "\n".join(rows)))
    return tuple(hovers)


def _describe(
    record: RunRecord, title: str, curves: dict[str, pd.Series[float]], zero_shot: float, position: int | None
) -> str:
    ends = ", ".join(f"{label(method)} {number(curve.iloc[-1])}%" for method, curve in curves.items())
    trained = "" if position is None else f", trained at position {position + 1} of {len(record.tasks)}"
    return f"{title}{trained}. Accuracy at the end: {ends}; zero-shot {number(zero_shot)}%."
