"""The section with a chart for each loss of training, and losses.csv."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import pandas as pd

from gift_core.artifacts.model_folder import ENTROPY, LOSSES, LossRow, read_losses
from gift_core.config.method_options import MethodConfig
from gift_core.report.charts import MAX_TICKS, Chart, Frame, Point, round_ticks, thin_ticks
from gift_core.report.labels import number
from gift_core.report.run_record import RunRecord, Section

MAX_BOUNDARIES = 25  # with more tasks, charts have no lines between tasks
BINS = 240  # points per line over the whole sequence
MIN_BINS_PER_TASK = 8
BINS_PER_TASK_OF_PLOTS = 20
# Other columns of losses.jsonl. The total contains the entropy of the teacher, which no training changes and which
# grows with the tasks: it would rise while every loss falls.
NOT_LOSSES = ("iteration", "learning_rate", "skipped", "total")
KL = " (KL)"  # ends the name of a cross-entropy to the teacher from which the teacher's entropy is subtracted
LOSS_COLUMNS = ["method", "position", "iterations", "iteration", "loss", "value"]


def losses(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the losses, a chart for each in the order of the logs."""
    if record.methods:
        charts = loss_charts(record)
        shown = {"charts": charts, "has_kl": any(chart.title.endswith(KL) for chart in charts)}
        yield Section("losses", "Losses", "losses.html.j2", shown)


def loss_values(rows: Sequence[LossRow], method: MethodConfig) -> pd.DataFrame:
    """The losses that the method has, a column for each, from the rows of losses.jsonl; the index is the iteration.

    A cross-entropy to the teacher becomes a KL divergence, named "distill (KL)": the teacher's entropy, which no
    training can change, is subtracted, so 0 means that the student equals the teacher. The zeros of a consolidation
    that the method lacks are left out.
    """
    logged = pd.DataFrame(rows).set_index("iteration")
    left_out = {*NOT_LOSSES, *(f"{name}{ENTROPY}" for name in logged)}
    if method.consolidation.kind == "none":
        left_out.add("consolidation")
    values = {}
    for name in logged.columns.difference([*left_out], sort=False):
        entropy = logged.get(f"{name}{ENTROPY}")
        if entropy is None:
            values[name] = logged[name]
        else:
            values[f"{name}{KL}"] = logged[name] - entropy
    return pd.DataFrame(values)


@lru_cache(maxsize=1)  # the charts and the plots are made of the same
def read_all_losses(record: RunRecord) -> pd.DataFrame:
    """LOSS_COLUMNS, one row per method, task, iteration and loss; losses in the order of their first appearance.

    `position` is that of the task, `iterations` how many the task has.
    """
    frames = [pd.DataFrame(columns=LOSS_COLUMNS)]
    for method, (position, task) in product(record.methods, enumerate(record.tasks)):
        wide = loss_values(read_losses(record.layout.model(method, task) / LOSSES), record.config.methods[method])
        tidy = wide.reset_index().melt(id_vars="iteration", var_name="loss", value_name="value")
        frames.append(tidy.assign(method=method, position=position, iterations=wide.index.max() + 1))
    return pd.concat(frames[1:] or frames, ignore_index=True)[LOSS_COLUMNS]


def loss_rows(record: RunRecord) -> pd.DataFrame:
    """The content of losses.csv: the means of 20 bins for each task."""
    return binned(read_all_losses(record), BINS_PER_TASK_OF_PLOTS).round({"value": 6})


def binned(rows: pd.DataFrame, bins: int | pd.Series[int]) -> pd.DataFrame:
    """method, loss, sequence_step, value: the means of this many bins for each task.

    sequence_step is the position of the task plus the fraction of its iterations.
    """
    fraction = (rows["iteration"] * bins // rows["iterations"] + 0.5) / bins
    steps = rows.assign(sequence_step=(rows["position"] + fraction).astype(float).round(4))
    return steps.groupby(["method", "loss", "sequence_step"], sort=False)["value"].mean().reset_index()


def loss_charts(record: RunRecord) -> list[Chart]:
    """A chart for each loss in the order of the logs. x is the position in the task sequence."""
    charts = []
    tasks = len(record.tasks)
    rows = read_all_losses(record)
    points = binned(rows, rows["iterations"].clip(upper=max(BINS // tasks, MIN_BINS_PER_TASK)))
    for name, of_loss in points.groupby("loss", sort=False):
        of_method = dict(list(of_loss.groupby("method", sort=False)))
        curves = {method: _points(of_method[method], tasks) for method in record.methods if method in of_method}
        means = rows[rows["loss"] == name].groupby("method", sort=False)["value"].mean()
        ticks = round_ticks(float(of_loss["value"].max()))
        chart = Chart(
            title=str(name),
            description=f"{name} loss over {tasks} tasks. Mean over all iterations: "
            f"{', '.join(f'{record.label(method)} {number(float(means[method]))}' for method in curves)}.",
            frame=Frame(width=460, height=250, left=52, right=12, x_max=tasks, y_max=ticks[-1]),
            curves=curves,
            styles=record.styles,
            x_title="task",
            x_ticks={at + 0.5: str(at + 1) for at in thin_ticks(range(tasks), MAX_TICKS)},
            y_title="weighted KL divergence" if str(name).endswith(KL) else "weighted loss",
            y_ticks={at: f"{at:g}" for at in ticks},
            boundaries=range(1, tasks) if tasks <= MAX_BOUNDARIES else (),
        )
        charts.append(chart)
    return charts


def _points(binned: pd.DataFrame, tasks: int) -> list[Point]:
    """A method's line; NaN ends each task."""
    ends = pd.DataFrame({"sequence_step": range(1, tasks + 1), "value": math.nan})
    whole = pd.concat([binned[["sequence_step", "value"]], ends]).sort_values("sequence_step", kind="stable")
    return list(whole.itertuples(index=False, name=None))
