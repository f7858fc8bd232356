"""Loss terms over the steps of the whole sequence: one chart a term, one line a method."""

from __future__ import annotations

import math

import pandas as pd

from gift_core.report.drawing import Chart, Frame, Line, Point, Tick, path_of, round_ticks, thinned
from gift_core.report.emphasis import quiet_first, styles_of
from gift_core.report.record import RunRecord
from gift_core.report.words import label, number

TOTAL = "total"
PARTED_TASKS = 25  # up to here a line parts each task from the next
BINS = 240  # points a line over the whole sequence; each is the mean of its steps


def loss_charts(record: RunRecord) -> list[Chart]:
    """A chart for each term in the order of the logs, the total last; x runs over the tasks, all equally wide."""
    losses = record.losses
    terms = sorted(map(str, losses["term"].unique()), key=lambda term: term == TOTAL)
    return [_chart(record, term, losses[losses["term"] == term]) for term in terms]


def _chart(record: RunRecord, term: str, rows: pd.DataFrame) -> Chart:
    bins = max(BINS // len(record.tasks), 8)
    curves = {method: _points(rows[rows["method"] == method], bins) for method in quiet_first(record, record.methods)}
    curves = {method: points for method, points in curves.items() if points}
    ticks = round_ticks(max((y for points in curves.values() for _, y in points if not math.isnan(y)), default=0.0))
    frame = Frame(width=460, height=210, left=44, right=12, top=12, bottom=26, x_max=len(record.tasks), y_max=ticks[-1])
    styles = styles_of(record)
    lines = tuple(
        Line(method, styles[method], path_of([(frame.x(x), frame.y(y)) for x, y in points]))
        for method, points in curves.items()
    )
    means = ", ".join(f"{label(m)} {_mean(rows, m)}" for m in curves)
    return Chart(
        title=term,
        number="",
        description=f"{term} loss over the steps of {len(record.tasks)} tasks; mean over all steps: {means}.",
        frame=frame,
        lines=lines,
        x_ticks=tuple(Tick(frame.x(at + 0.5), str(at + 1)) for at in thinned(range(len(record.tasks)), 20)),
        y_ticks=tuple(Tick(frame.y(value), f"{value:g}") for value in ticks),
        boundaries=tuple(frame.x(at) for at in range(1, len(record.tasks)))
        if len(record.tasks) <= PARTED_TASKS
        else (),
    )


def _points(rows: pd.DataFrame, bins: int) -> list[Point]:
    """Binned means of one method's term: x = position of the task + share of its steps; nan ends a task's line."""
    points: list[Point] = []
    for position, of_task in rows.groupby("position", sort=True):
        start = float(str(position))
        count = int(of_task["step"].max()) + 1
        bin_of_row = (of_task["step"] * min(bins, count)) // count
        for index, value in of_task.groupby(bin_of_row, sort=True)["value"].mean().items():
            points.append((round(start + (int(str(index)) + 0.5) / min(bins, count), 4), float(value)))
        points.append((start + 1.0, math.nan))
    return points


def _mean(rows: pd.DataFrame, method: str) -> str:
    return number(float(rows.loc[rows["method"] == method, "value"].mean()))
