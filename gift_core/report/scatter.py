"""Scatter charts: a point for each method, with its name beside the chart and a line to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.charts import BOTTOM, MAX_NARROW_NAME, TOP, Frame, round_ticks, spread_labels
from gift_core.report.highlight import styles_of
from gift_core.report.labels import number, shorten
from gift_core.report.run_record import RunRecord, Section

NAME_GAP = 18.0  # between the names beside a chart


def scatter_chart(
    points: pd.DataFrame,
    titles: tuple[str, str],
    *,
    labels: Mapping[str, str],
    styles: Mapping[str, str],
    size: tuple[float, float],
    gap: float = NAME_GAP,
) -> dict[str, Any]:
    """What templates/charts.html.j2 renders. `points`: a row for each method, x and y in percent.

    `titles`: of x and y. A chart is so high that the names fit. Each mark has a row of `points`, its name, and the y of
    the name in the view box, to which a line leads.
    """
    x_low, x_high = axis_bounds(points["x"])
    y_low, y_high = axis_bounds(points["y"])
    frame = Frame(
        width=size[0], height=max(size[1], gap * len(points) + TOP + BOTTOM), left=46, right=206,
        x_min=x_low, x_max=x_high, y_min=y_low, y_max=y_high,
    )  # fmt: skip
    heights = spread_labels([frame.y(value) for value in points["y"]], gap, frame.top, frame.y_end)
    names = [shorten(labels[method]) for method in points.index]
    table = points.assign(method=points.index, style=[styles[method] for method in points.index])
    marks = table.assign(name=names, name_y=heights).to_dict("records")
    values = "; ".join(f"{labels[mark['method']]} {number(mark['x'])} and {number(mark['y'])}" for mark in marks)
    return {
        "titles": titles,
        "description": f"{titles[0]} and {titles[1]} in percent: {values}.",
        "frame": frame,
        "marks": marks,
        "x_ticks": axis_ticks(x_low, x_high),
        "y_ticks": axis_ticks(y_low, y_high),
        "has_long_names": any(len(name) > MAX_NARROW_NAME for name in names),
        "zero_shot": next((mark for mark in marks if mark["method"] == ZERO_SHOT), None),
    }


def learned_and_kept(record: RunRecord) -> Iterator[Section]:
    """Yields the section with the accuracy on the probes and on what was learned, of each last model."""
    if not (record.methods and record.probes):
        return
    methods = [*record.continued, ZERO_SHOT]
    scores = {"x": [record.scores[method]["probes"] for method in methods]}
    scores["y"] = [record.scores[method]["last"] for method in methods]
    points = pd.DataFrame(scores, index=methods, dtype=float)
    styles = {**styles_of(record), ZERO_SHOT: "g0 reference"}
    titles = ("Zero-shot kept", "Last")
    chart = scatter_chart(points, titles, labels=record.labels, styles=styles, size=(640, 340), gap=19.0)
    yield Section("learned", "Learned and kept", "learned_and_kept.html.j2", {"chart": chart})


def axis_bounds(values: pd.Series[float], deviations: pd.Series[float] | float = 0.0) -> tuple[float, float]:
    """The least and the greatest value, each with its deviation and some space."""
    low, high = float((values - deviations).min()), float((values + deviations).max())
    margin = max(0.05 * (high - low), 0.1)
    return low - margin, high + margin


def axis_ticks(low: float, high: float) -> list[float]:
    """Round values between the bounds, about twice as many as a small chart has."""
    step = round_ticks((high - low) / 2)[1]
    return [round(step * index, 9) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
