"""Plain geometry for the page's line charts: scales, paths, places of labels. The templates draw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """A plot area inside an SVG's view box, in its units; maps data (x_min to x_max, y_min to y_max) into it."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_max: float
    y_max: float
    x_min: float = 0.0
    y_min: float = 0.0

    @property
    def x_end(self) -> float:
        """The plot area's right edge."""
        return self.width - self.right

    @property
    def y_end(self) -> float:
        """The plot area's lower edge."""
        return self.height - self.bottom

    def x(self, value: float) -> float:
        """The view box's x of a value from 0 to x_max."""
        return round(self.left + (self.x_end - self.left) * (value - self.x_min) / (self.x_max - self.x_min), 1)

    def y(self, value: float) -> float:
        """The view box's y of a value from 0 to y_max; values grow upwards."""
        return round(self.y_end - (self.y_end - self.top) * (value - self.y_min) / (self.y_max - self.y_min), 1)


@dataclass(frozen=True)
class Label:
    """A text beside a method's line's end, moved up or down so that no two overlap."""

    method: str
    text: str
    style: str
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """One method's curve: the SVG path and its marked points."""

    method: str
    style: str
    path: str
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Tick:
    """A mark on an axis and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Hover:
    """A band of a chart and what it says under the pointer, one line a row."""

    x: float
    width: float
    text: str


@dataclass(frozen=True)
class Chart:
    """All that a template needs to draw one line chart."""

    title: str
    number: str
    description: str
    frame: Frame
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    labels: tuple[Label, ...] = ()
    hovers: tuple[Hover, ...] = ()
    zero_shot: float | None = None  # its level, or a path where it has a course
    zero_shot_path: str = ""
    x_title: str = ""
    trained: float | None = None
    boundaries: tuple[float, ...] = ()


def path_of(points: Sequence[Point]) -> str:
    """An SVG path through the points; a nan breaks the line."""
    words, pen_down = [], False
    for x, y in points:
        if math.isnan(y):
            pen_down = False
            continue
        words.append(f"{'L' if pen_down else 'M'}{x:g} {y:g}")
        pen_down = True
    return "".join(words)


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The heights, moved so that neighbours keep the gap, the order stays, and all lie in [low, high].

    Each is the mean of being pushed down by those before it and of being pushed up by those after it, so that a crowd
    gives way to both sides.
    """
    order = sorted(range(len(heights)), key=lambda index: (heights[index], index))
    gap = min(gap, (high - low) / max(len(heights) - 1, 1))
    rising = [heights[index] for index in order]
    down = _pushed(rising, gap, low, high)
    up = [-value for value in reversed(_pushed([-value for value in reversed(rising)], gap, -high, -low))]
    places = {index: round((one + other) / 2, 1) for index, one, other in zip(order, down, up, strict=True)}
    return [places[index] for index in range(len(heights))]


def _pushed(rising: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Each pushed beyond the one before it, then all back below the high end."""
    placed = list(rising)
    for index, value in enumerate(rising):
        placed[index] = max(value, placed[index - 1] + gap if index else low)
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], placed[index + 1] - gap if index + 1 < len(placed) else high)
    return placed


def thinned(values: Sequence[int], most: int) -> list[int]:
    """The first and the last value and of those between every n-th, at most `most` and a last one in all.

    One that would stand too near the last gives way to it.
    """
    step = math.ceil((len(values) - 1) / (most - 1)) if len(values) > most else 1
    kept = list(range(0, len(values), step))
    last = len(values) - 1
    if kept[-1] != last:
        kept = [*(place for place in kept if last - place > step / 2), last]
    return [values[place] for place in kept]


def round_ticks(largest: float) -> list[float]:
    """Round tick values from 0 to at least the largest value, in steps of 1, 2 or 5 times a power of ten."""
    if not math.isfinite(largest) or largest <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** math.floor(math.log10(largest / 2))
    step = next(magnitude * factor for factor in (1, 2, 5, 10, 20) if largest / (magnitude * factor) <= 4)
    return [step * index for index in range(math.ceil(largest / step - 1e-9) + 1)]
