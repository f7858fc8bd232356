"""Transfer against Last: a point per method with bars of one standard deviation, and its name beside the chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.charts import Frame, round_ticks, spread_labels
from gift_core.report.comparison.seed_statistics import Comparison
from gift_core.report.labels import label, number, shorten

NAME_GAP = 18.0  # between the names beside the chart


@dataclass(frozen=True)
class Mark:
    """A method's Transfer (x) and Last (y) in percent with their deviations over the seeds, and its CSS class."""

    method: str
    style: str
    x: float
    y: float
    x_deviation: float
    y_deviation: float

    @property
    def tip(self) -> str:
        """The tooltip."""
        return f"{label(self.method)}\nTransfer\t{number(self.x)}\nLast\t{number(self.y)}"


@dataclass(frozen=True)
class Scatter:
    """The chart: each mark with its name and the y of the name in the view box, to which a line leads."""

    description: str
    frame: Frame
    marks: Sequence[tuple[Mark, str, float]]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    zero_shot: Mark | None


def scatter_chart(comparison: Comparison) -> Scatter | None:
    """The chart of all methods. None if there is no Transfer, as in a sequence of one task."""
    marks = []
    for method in (method for group in comparison.groups for method in group.methods):
        x, y = (comparison.spreads[method].get(column) for column in ("transfer", "last"))
        if x is not None and y is not None and x.mean is not None and y.mean is not None:
            deviations = (x.deviation or 0.0, y.deviation or 0.0)
            marks.append(Mark(method, comparison.styles[method], x.mean, y.mean, *deviations))
    if not marks:
        return None
    x_low, x_high = _range([(mark.x, mark.x_deviation) for mark in marks])
    y_low, y_high = _range([(mark.y, mark.y_deviation) for mark in marks])
    frame = Frame(
        width=1072, height=max(560.0, NAME_GAP * len(marks) + 66), left=46, right=206, top=14, bottom=52,
        x_min=x_low, x_max=x_high, y_min=y_low, y_max=y_high,
    )  # fmt: skip
    heights = spread_labels([frame.y(mark.y) for mark in marks], NAME_GAP, frame.top + 8, frame.y_end - 8)
    values = "; ".join(f"{label(mark.method)} {number(mark.x)} and {number(mark.y)}" for mark in marks)
    return Scatter(
        description=f"Transfer and Last in percent: {values}.",
        frame=frame,
        marks=[(mark, shorten(label(mark.method)), at) for mark, at in zip(marks, heights, strict=True)],
        x_ticks=_ticks(x_low, x_high),
        y_ticks=_ticks(y_low, y_high),
        zero_shot=next((mark for mark in marks if mark.method == ZERO_SHOT), None),
    )


def _range(spreads: Sequence[tuple[float, float]]) -> tuple[float, float]:
    low, high = min(mean - each for mean, each in spreads), max(mean + each for mean, each in spreads)
    margin = max(0.05 * (high - low), 0.1)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the bounds, about twice as many as a small chart has."""
    step = round_ticks((high - low) / 2)[1]
    return [round(step * index, 9) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
