"""Transfer against Last: a point per method with bars of one standard deviation, and its name beside the chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gift_core.metrics import ZERO_SHOT
from gift_core.report.charts import Frame, Point, Tick, round_ticks, spread_labels
from gift_core.report.comparison.seed_statistics import Comparison, Spread
from gift_core.report.labels import label, number, shorten

NAME_GAP = 18.0  # between the names beside the chart


@dataclass(frozen=True)
class MethodPoint:
    """A method's Transfer (x) and Last (y), and its CSS class."""

    method: str
    style: str
    x: Spread
    y: Spread


@dataclass(frozen=True)
class Mark:
    """A point with the ends of its bars, and the y of its name, to which a line leads."""

    style: str
    x: float
    y: float
    across: Point
    upright: Point
    name: str
    name_y: float
    tip: str


@dataclass(frozen=True)
class Scatter:
    """The chart."""

    description: str
    frame: Frame
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero_shot_x: float | None
    zero_shot_y: float | None


def scatter_chart(comparison: Comparison) -> Scatter | None:
    """The chart of all methods. None if there is no Transfer, as in a sequence of one task."""
    points = [
        MethodPoint(method, comparison.styles[method], spreads["transfer"], spreads["last"])
        for group in comparison.groups
        for method in group.methods
        for spreads in [comparison.spreads[method]]
        if "transfer" in spreads and spreads["transfer"].mean is not None
    ]
    if not points:
        return None
    (x_low, x_high), (y_low, y_high) = _range([point.x for point in points]), _range([point.y for point in points])
    frame = Frame(
        width=1072, height=max(560.0, NAME_GAP * len(points) + 66), left=46, right=206, top=14, bottom=52,
        x_min=x_low, x_max=x_high, y_min=y_low, y_max=y_high,
    )  # fmt: skip
    heights = spread_labels([frame.y(_mean(point.y)) for point in points], NAME_GAP, frame.top + 8, frame.y_end - 8)
    zero_shot = next((point for point in points if point.method == ZERO_SHOT), None)
    values = "; ".join(f"{label(point.method)} {number(point.x.mean)} and {number(point.y.mean)}" for point in points)
    return Scatter(
        description=f"Transfer and Last in percent: {values}.",
        frame=frame,
        marks=tuple(_mark(frame, point, height) for point, height in zip(points, heights, strict=True)),
        x_ticks=tuple(Tick(frame.x(value), f"{value:g}") for value in _ticks(frame.x_min, frame.x_max)),
        y_ticks=tuple(Tick(frame.y(value), f"{value:g}") for value in _ticks(frame.y_min, frame.y_max)),
        zero_shot_x=None if zero_shot is None else frame.x(_mean(zero_shot.x)),
        zero_shot_y=None if zero_shot is None else frame.y(_mean(zero_shot.y)),
    )


def _range(spreads: Sequence[Spread]) -> tuple[float, float]:
    lows = [_mean(spread) - (spread.deviation or 0.0) for spread in spreads]
    highs = [_mean(spread) + (spread.deviation or 0.0) for spread in spreads]
    margin = max(0.05 * (max(highs) - min(lows)), 0.1)
    return min(lows) - margin, max(highs) + margin


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the bounds, about twice as many as a small chart has."""
    step = round_ticks((high - low) / 2)[1]
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(step * index, 9) for index in range(first, last + 1)]


def _mark(frame: Frame, point: MethodPoint, name_y: float) -> Mark:
    x, y, name = _mean(point.x), _mean(point.y), label(point.method)
    half_x, half_y = point.x.deviation or 0.0, point.y.deviation or 0.0
    return Mark(
        style=point.style,
        x=frame.x(x),
        y=frame.y(y),
        across=(frame.x(x - half_x), frame.x(x + half_x)),
        upright=(frame.y(y + half_y), frame.y(y - half_y)),
        name=shorten(name),
        name_y=name_y,
        tip=f"{name}\nTransfer\t{number(point.x.mean)}\nLast\t{number(point.y.mean)}",
    )


def _mean(spread: Spread) -> float:
    assert spread.mean is not None, "methods without Transfer have no point"
    return spread.mean
