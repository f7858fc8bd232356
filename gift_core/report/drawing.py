"""Plain geometry for the page's line charts: scales, paths, places of labels. The templates draw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
COLOURS = 6  # colour-blind safe hues in the style sheet; each further six methods repeat them with another dash
DASHES = 3


@dataclass(frozen=True)
class Frame:
    """A plot area inside an SVG's view box, in its units; maps data (x from 0 to x_max, y from 0 to y_max) into it."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_max: float
    y_max: float

    @property
    def x_end(self) -> float:
        return self.width - self.right

    @property
    def y_end(self) -> float:
        return self.height - self.bottom

    def x(self, value: float) -> float:
        return round(self.left + (self.x_end - self.left) * value / self.x_max, 1)

    def y(self, value: float) -> float:
        return round(self.y_end - (self.y_end - self.top) * value / self.y_max, 1)


@dataclass(frozen=True)
class Label:
    """A text beside a line's end, moved up or down so that no two overlap."""

    text: str
    style: str
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """One method's curve: the SVG path, its marked points, and whether it stays in the background."""

    method: str
    style: str
    path: str
    points: tuple[Point, ...] = ()
    quiet: bool = False


@dataclass(frozen=True)
class Tick:
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
    zero_shot: float | None = None
    trained: float | None = None
    boundaries: tuple[float, ...] = ()


def style_of(position: int) -> str:
    """CSS classes of the method at this position of params.yaml's list: a hue and a dash, 18 in all."""
    return f"m{position % COLOURS} dash{position // COLOURS % DASHES}"


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
    """The heights, moved so that neighbours keep the gap, the order stays, and all lie in [low, high]."""
    order = sorted(range(len(heights)), key=lambda index: (heights[index], index))
    gap = min(gap, (high - low) / max(len(heights) - 1, 1))
    placed = list(heights)
    floor = low
    for index in order:
        placed[index] = max(placed[index], floor)
        floor = placed[index] + gap
    ceiling = high
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return [round(value, 1) for value in placed]


def round_ticks(largest: float) -> list[float]:
    """Round tick values from 0 to at least the largest value, in steps of 1, 2 or 5 times a power of ten."""
    if not math.isfinite(largest) or largest <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** math.floor(math.log10(largest / 2))
    step = next(magnitude * factor for factor in (1, 2, 5, 10, 20) if largest / (magnitude * factor) <= 4)
    return [step * index for index in range(math.ceil(largest / step - 1e-9) + 1)]
