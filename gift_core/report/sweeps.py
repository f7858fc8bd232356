"""Charts of each metric against a number, where the rows of several methods differ in that number alone."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from gift_core.report.charts import Chart, Frame
from gift_core.report.labels import COLUMN_TITLES, number
from gift_core.report.run_record import Experiment, RunRecord, Section
from gift_core.report.scatter import axis_bounds, axis_ticks
from gift_core.untrusted import leaves

SHOWN = ("transfer", "avg", "last", "probes")
LEAST_RANGE = 1.0  # of an axis, in points, so that a chart does not show rounding
LOGARITHMIC = 4  # the least ratio of the largest value to the smallest for an axis of logarithms
Scores = Mapping[str, Mapping[str, "pd.Series[float]"]]  # by method and column, a value for each seed


@dataclass(frozen=True)
class Sweep:
    """A key of a method's row, and the method with each of its values, in the order of the values."""

    key: str
    methods: Mapping[float, str]


def find_sweeps(experiment: Experiment) -> list[Sweep]:
    """Returns the numbers in which alone rows of methods that ran differ. Of two equal rows the first one counts."""
    found: dict[tuple[str, str], dict[float, str]] = defaultdict(dict)
    for method in experiment.continued:
        row = dict(leaves(experiment.config.methods[method].model_dump(mode="json", exclude={"label"})))
        for key, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                others = json.dumps({**row, key: None}, sort_keys=True)
                found[key, others].setdefault(float(value), method)
    return [Sweep(key, dict(sorted(methods.items()))) for (key, _), methods in found.items() if len(methods) > 1]


def sweep_charts(experiment: Experiment, scores: Scores) -> list[tuple[Sweep, list[Chart]]]:
    """Returns each sweep with a chart for each metric that two of its methods have."""
    found = []
    for sweep in find_sweeps(experiment):
        charts = []
        for column in SHOWN:
            by_value = {value: scores[method].get(column) for value, method in sweep.methods.items()}
            known = {value: of for value, of in by_value.items() if of is not None and len(of)}
            if len(known) > 1:
                charts.append(_chart(COLUMN_TITLES[column], sweep, known))
        found.append((sweep, charts))
    return found


def sweeps(record: RunRecord) -> Iterator[Section]:
    """Yields the section with the charts of every sweep of a run."""
    scores = {
        method: {column: pd.Series([value], dtype=float).dropna() for column, value in row.items()}
        for method, row in record.scores.items()
    }
    found = sweep_charts(record, scores)
    if found:
        yield Section("ablations", "Ablations", "sweeps.html.j2", {"sweeps": found, "several": False})


def _chart(title: str, sweep: Sweep, scores: Mapping[float, pd.Series[float]]) -> Chart:
    """The means against the values, with a bar of a standard deviation to both sides where there are several seeds."""
    values, means = [*scores], pd.Series([float(of.mean()) for of in scores.values()])
    deviations = pd.Series([float(of.std()) for of in scores.values()]).fillna(0.0)
    is_logarithmic = values[0] > 0 and values[-1] >= LOGARITHMIC * values[0]
    positions = [math.log(value) for value in values] if is_logarithmic else values
    low, high = axis_bounds(means, deviations.clip(lower=LEAST_RANGE / 2))
    space = 0.06 * (positions[-1] - positions[0])
    frame = Frame(
        width=300, height=250, left=44, right=10,
        x_min=positions[0] - space, x_max=positions[-1] + space, y_min=low, y_max=high,
    )  # fmt: skip
    points = list(zip(positions, means, strict=True))
    hovers = {
        at: f"{sweep.key}: {value:g}\n{sweep.methods[value]}\t{number(mean)}"
        for (at, mean), value in zip(points, values, strict=True)
    }
    bars = {at: (mean - spread, mean + spread) for (at, mean), spread in zip(points, deviations, strict=True) if spread}
    shown = ", ".join(f"{value:g}: {number(mean)}" for value, mean in zip(values, means, strict=True))
    return Chart(
        title=title,
        description=f"{title} in percent against {sweep.key}. {shown}.",
        frame=frame,
        curves={sweep.key: points},
        styles={sweep.key: "m0"},
        x_title=sweep.key,
        x_ticks={at: f"{value:g}" for at, value in zip(positions, values, strict=True)},
        y_title="accuracy (%)",
        y_ticks={value: f"{value:g}" for value in axis_ticks(low, high)},
        marked=True,
        hovers=hovers,
        bars=bars,
    )
