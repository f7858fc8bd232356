"""The chart of learned against kept: a point for each method, with its name beside the chart and a line to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.charts import BOTTOM, MAX_NARROW_NAME, TOP, Frame, round_ticks, spread_labels
from gift_core.report.highlight import styles_of
from gift_core.report.labels import number, shorten
from gift_core.report.run_record import RunRecord, Section

NAME_GAP = 19.0  # between the names beside the chart
TITLES = ("Zero-shot kept", "Last")  # of x and y


def learned_and_kept(record: RunRecord) -> Iterator[Section]:
    """Yields the section with the accuracy on the probes and on what was learned, of each last model."""
    if record.methods and record.probes:
        yield Section("learned", "Learned and kept", "learned_and_kept.html.j2", {"chart": _chart(record)})


def _chart(record: RunRecord) -> dict[str, Any]:
    """What scatter_svg of templates/charts.html.j2 renders.

    The chart is so high that the names fit. Each mark has the x and y of a method in percent, its name, and the y of
    the name in the view box, to which a line leads.
    """
    methods = [*record.continued, ZERO_SHOT]
    scores = {"x": [record.scores[method]["probes"] for method in methods]}
    scores["y"] = [record.scores[method]["last"] for method in methods]
    points = pd.DataFrame(scores, index=methods, dtype=float)
    x_low, x_high = axis_bounds(points["x"])
    y_low, y_high = axis_bounds(points["y"])
    frame = Frame(
        width=640, height=max(340, NAME_GAP * len(points) + TOP + BOTTOM), left=46, right=206,
        x_min=x_low, x_max=x_high, y_min=y_low, y_max=y_high,
    )  # fmt: skip
    styles = {**styles_of(record), ZERO_SHOT: "g0 reference"}
    table = points.assign(
        method=methods,
        style=[styles[method] for method in methods],
        name=[shorten(record.label(method)) for method in methods],
        name_y=spread_labels([frame.y(value) for value in points["y"]], NAME_GAP, frame.top, frame.y_end),
    )
    marks = table.to_dict("records")
    values = "; ".join(f"{record.label(mark['method'])} {number(mark['x'])} and {number(mark['y'])}" for mark in marks)
    return {
        "titles": TITLES,
        "description": f"{TITLES[0]} and {TITLES[1]} in percent: {values}.",
        "frame": frame,
        "marks": marks,
        "x_ticks": axis_ticks(x_low, x_high),
        "y_ticks": axis_ticks(y_low, y_high),
        "has_long_names": any(len(mark["name"]) > MAX_NARROW_NAME for mark in marks),
        "zero_shot": marks[-1],
    }


def axis_bounds(values: pd.Series[float], least_margin: float = 0.0) -> tuple[float, float]:
    """The least and the greatest value with some space, at least `least_margin`."""
    low, high = float(values.min()) - least_margin, float(values.max()) + least_margin
    margin = max(0.05 * (high - low), 0.1)
    return low - margin, high + margin


def axis_ticks(low: float, high: float) -> list[float]:
    """Round values between the bounds, about twice as many as a small chart has."""
    step = round_ticks((high - low) / 2)[1]
    return [round(step * index, 9) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
