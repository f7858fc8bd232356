"""Charts of each metric against a number, where the rows of several methods differ in that number alone."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gift_core.report.charts import Chart, Frame, axis_bounds, axis_ticks
from gift_core.report.labels import COLUMN_TITLES, number
from gift_core.report.run_record import Experiment, RunRecord, Section
from gift_core.untrusted import leaves

SHOWN = ("transfer", "avg", "last", "probes")
LEAST_RANGE = 1.0  # of an axis, in points, so that a chart does not show rounding
LOGARITHMIC = 4  # the least ratio of the largest value to the smallest for an axis of logarithms


@dataclass(frozen=True)
class Sweep:
    """A key of a method's row, and the method with each of its values, in the order of the values."""

    key: str
    methods: Mapping[float, str]


def find_sweeps(experiment: Experiment) -> list[Sweep]:
    """Returns the numbers in which alone rows of methods that ran differ. Of two equal rows the first one counts."""
    methods_by_key: dict[tuple[str, str], dict[float, str]] = defaultdict(dict)
    for method in experiment.continued:
        row = dict(leaves(experiment.config.methods[method].model_dump(mode="json", exclude={"label"})))
        for key, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = json.dumps({**row, key: None}, sort_keys=True)
                methods_by_key[key, rest].setdefault(float(value), method)
    return [Sweep(key, dict(sorted(of_key.items()))) for (key, _), of_key in methods_by_key.items() if len(of_key) > 1]


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether increasing values belong on an axis of logarithms."""
    return values[0] > 0 and values[-1] >= LOGARITHMIC * values[0]


def sweeps(record: RunRecord) -> Iterator[Section]:
    """Yields the section with a chart of each metric that two methods of a sweep have."""
    sections = []
    for sweep in find_sweeps(record):
        charts = []
        for column in SHOWN:
            by_value = {value: record.scores[method].get(column) for value, method in sweep.methods.items()}
            known = {value: score for value, score in by_value.items() if score is not None and not math.isnan(score)}
            if len(known) > 1:
                charts.append(_chart(COLUMN_TITLES[column], sweep, known))
        sections.append((sweep, charts))
    if sections:
        yield Section("ablations", "Ablations", "sweeps.html.j2", {"sweeps": sections})


def _chart(title: str, sweep: Sweep, scores: Mapping[float, float]) -> Chart:
    """The scores against the values."""
    values = [*scores]
    positions = [math.log(value) for value in values] if is_logarithmic(values) else values
    low, high = axis_bounds([*scores.values()], LEAST_RANGE / 2)
    space = 0.06 * (positions[-1] - positions[0])
    frame = Frame(
        width=300, height=250, left=44, right=10,
        x_min=positions[0] - space, x_max=positions[-1] + space, y_min=low, y_max=high,
    )  # fmt: skip
    shown = ", ".join(f"{value:g}: {number(score)}" for value, score in scores.items())
    hovers = [f"{sweep.key}: {value:g}\n{sweep.methods[value]}\t{number(score)}" for value, score in scores.items()]
    return Chart(
        title=title,
        description=f"{title} in percent against {sweep.key}. {shown}.",
        frame=frame,
        curves={sweep.key: list(zip(positions, scores.values(), strict=True))},
        styles={sweep.key: "m0"},
        x_title=sweep.key,
        x_ticks={at: f"{value:g}" for at, value in zip(positions, values, strict=True)},
        y_ticks=axis_ticks(low, high),
        marked=True,
        hovers=dict(zip(positions, hovers, strict=True)),
    )
