"""The section with a chart for each loss of training, and losses.csv."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import pandas as pd

from gift_core.artifacts.model_folder import ENTROPY, LOSSES, LossRow, read_losses
from gift_core.config.method_options import LossesConfig, MethodConfig
from gift_core.report.charts import BOTTOM, MAX_TICKS, TOP, Chart, Frame, Point, round_ticks, thin_ticks
from gift_core.report.highlight import styles_of
from gift_core.report.labels import label, number
from gift_core.report.run_record import RunRecord, Section

MAX_BOUNDARIES = 25  # with more tasks, charts have no lines between tasks
BINS = 240  # points per line over the whole sequence
MIN_BINS_PER_TASK = 8
BINS_PER_TASK_OF_PLOTS = 20
# Other columns of losses.jsonl. The total contains the entropy of the teacher, which no training changes and which
# grows with the tasks: it would rise while every loss falls.
NOT_LOSSES = ("iteration", "learning_rate", "skipped", "total")
KL = " (KL)"  # ends the name of a cross-entropy to the teacher from which the teacher's entropy is subtracted
CONSOLIDATION = "consolidation"
LOSS_COLUMNS = ["method", "position", "task", "iteration", "loss", "value"]


def losses(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the losses, a chart for each in the order of the logs."""
    if record.methods:
        charts = loss_charts(record)
        shown = {"charts": charts, "has_kl": any(chart.title.endswith(KL) for chart in charts)}
        yield Section("losses", "Losses", "losses.html.j2", shown)


def loss_values(rows: Sequence[LossRow], method: MethodConfig) -> pd.DataFrame:
    """The losses that the method has, a column for each, from the rows of losses.jsonl; the index is the iteration.

    A cross-entropy to the teacher becomes a KL divergence, named "distill (KL)": the teacher's entropy, which no
    training can change, is subtracted, so 0 means that the student equals the teacher. Rows without the entropy (of
    older models) keep the cross-entropy and its name. Zeros of a loss or consolidation that the method lacks are left
    out.
    """
    logged = pd.DataFrame(rows).set_index("iteration")
    absent = {*LossesConfig.model_fields} - {name for name, _ in method.losses.items()}
    if method.consolidation.kind == "none":
        absent |= {CONSOLIDATION}
    entropies = {name: f"{name}{ENTROPY}" for name in logged.columns}
    values = {}
    for name in logged.columns:
        if name not in (*NOT_LOSSES, *absent, *entropies.values()):
            has_entropy = entropies[name] in logged.columns
            values[f"{name}{KL}" if has_entropy else name] = logged[name] - (
                logged[entropies[name]] if has_entropy else 0
            )
    table: pd.DataFrame = pd.DataFrame(values)
    return table


def read_all_losses(record: RunRecord) -> pd.DataFrame:
    """LOSS_COLUMNS, one row per method, task, iteration and loss; losses in the order of their first appearance.

    `position` is that of the task.
    """
    frames = [pd.DataFrame(columns=LOSS_COLUMNS)]
    for method, (position, task) in product(record.methods, enumerate(record.tasks)):
        wide = loss_values(read_losses(record.layout.model(method, task) / LOSSES), record.config.methods[method])
        tidy = wide.reset_index().melt(id_vars="iteration", var_name="loss", value_name="value")
        frames.append(tidy.assign(method=method, position=position, task=task))
    losses: pd.DataFrame = pd.concat(frames[1:] or frames, ignore_index=True)[LOSS_COLUMNS]
    return losses


def loss_rows(record: RunRecord) -> pd.DataFrame:
    """method, loss, sequence_step, value: means of 20 bins per task.

    sequence_step is the position of the task plus the fraction of its iterations.
    """
    rows, bins = read_all_losses(record), BINS_PER_TASK_OF_PLOTS
    iterations = rows.groupby(["method", "position"])["iteration"].transform("max") + 1
    fraction = ((rows["iteration"] * bins) // iterations + 0.5) / bins
    binned = rows.assign(sequence_step=(rows["position"] + fraction).round(4))
    means = binned.groupby(["method", "loss", "sequence_step"], sort=False)["value"].mean().round(6)
    tidy: pd.DataFrame = means.reset_index()
    return tidy


def loss_charts(record: RunRecord) -> list[Chart]:
    """A chart for each loss in the order of the logs. x is the position in the task sequence."""
    charts, tasks = [], len(record.tasks)
    for name, rows in read_all_losses(record).groupby("loss", sort=False):
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
