"""The section with a chart for each loss of training, and losses.csv."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from gift_core.report.charts import BOTTOM, TOP, Chart, Frame, Point, round_ticks, thin_ticks
from gift_core.report.curves import MAX_TICKS
from gift_core.report.highlight import styles_of
from gift_core.report.labels import label, number
from gift_core.report.run_record import RunRecord, Section
from gift_core.report.training_losses import KL

MAX_BOUNDARIES = 25  # with more tasks, charts have no lines between tasks
BINS = 240  # points per line over the whole sequence
MIN_BINS_PER_TASK = 8
BINS_PER_TASK_OF_PLOTS = 20


def losses(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the losses, a chart for each in the order of the logs."""
    if record.methods:
        charts = loss_charts(record)
        shown = {"charts": charts, "has_kl": any(chart.title.endswith(KL) for chart in charts)}
        yield Section("losses", "Losses", "losses.html.j2", shown)


def loss_rows(record: RunRecord) -> pd.DataFrame:
    """method, loss, sequence_step, value: means of 20 bins per task.

    sequence_step is the position of the task plus the fraction of its iterations.
    """
    rows, bins = record.losses, BINS_PER_TASK_OF_PLOTS
    iterations = rows.groupby(["method", "position"])["iteration"].transform("max") + 1
    fraction = ((rows["iteration"] * bins) // iterations + 0.5) / bins
    binned = rows.assign(sequence_step=(rows["position"] + fraction).round(4))
    means = binned.groupby(["method", "loss", "sequence_step"], sort=False)["value"].mean().round(6)
    tidy: pd.DataFrame = means.reset_index()
    return tidy


def loss_charts(record: RunRecord) -> list[Chart]:
    """A chart for each loss in the order of the logs. x is the position in the task sequence."""
    charts, tasks = [], len(record.tasks)
    for name, rows in record.losses.groupby("loss", sort=False):
        of_method = dict(list(rows.groupby("method", sort=False)))
        curves = {method: _points(of_method[method], tasks) for method in record.methods if method in of_method}
        ticks = round_ticks(max(y for points in curves.values() for _, y in points if not math.isnan(y)))
        means = ", ".join(f"{label(method)} {number(float(of_method[method]['value'].mean()))}" for method in curves)
        chart = Chart(
            title=str(name),
            description=f"{name} loss over {tasks} tasks. Mean over all iterations: {means}.",
            frame=Frame(width=460, height=250, left=52, right=12, top=TOP, bottom=BOTTOM, x_max=tasks, y_max=ticks[-1]),
            curves=curves,
            styles=styles_of(record),
            x_title="task",
            x_ticks={at + 0.5: str(at + 1) for at in thin_ticks(range(tasks), MAX_TICKS)},
            y_title="weighted KL divergence" if str(name).endswith(KL) else "weighted loss",
            y_ticks={at: f"{at:g}" for at in ticks},
            boundaries=range(1, tasks) if tasks <= MAX_BOUNDARIES else (),
        )
        charts.append(chart)
    return charts


def _points(rows: pd.DataFrame, tasks: int) -> list[Point]:
    """Binned means of one method's loss. x = position of the task + fraction of its iterations; NaN ends each task."""
    points: list[Point] = []
    for position, of_task in rows.groupby("position", sort=True):
        start, count = float(str(position)), int(of_task["iteration"].max()) + 1
        bins = min(max(BINS // tasks, MIN_BINS_PER_TASK), count)
        for index, value in of_task.groupby(of_task["iteration"] * bins // count, sort=True)["value"].mean().items():
            points.append((round(start + (int(str(index)) + 0.5) / bins, 4), float(value)))
        points.append((start + 1.0, math.nan))
    return points
