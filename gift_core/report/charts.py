"""The line charts of the pages: scales, paths, ticks and labels. templates/charts.html.j2 renders them as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gift_core.metrics import ZERO_SHOT
from gift_core.report.highlight import QUIET
from gift_core.report.labels import number

Point = tuple[float, float]
MAX_NARROW_NAME = 14  # characters that fit at the end of a line on a narrow screen
# The space of the texts around a plot, in view box units, for the largest font of the style sheet.
TOP, TOP_WITH_TRAINED, BOTTOM = 36.0, 50.0, 54.0


@dataclass(frozen=True)
class Frame:
    """The plot area of an SVG. Maps data (x_min to x_max, y_min to y_max) to view box units."""

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
        """The right edge of the plot area."""
        return self.width - self.right

    @property
    def y_end(self) -> float:
        """The lower edge of the plot area."""
        return self.height - self.bottom

    def x(self, value: float) -> float:
        """The view box x of a value between x_min and x_max."""
        return round(self.left + (self.x_end - self.left) * (value - self.x_min) / (self.x_max - self.x_min), 1)

    def y(self, value: float) -> float:
        """The view box y of a value between y_min and y_max. Larger values are higher up."""
        return round(self.y_end - (self.y_end - self.top) * (value - self.y_min) / (self.y_max - self.y_min), 1)


@dataclass(frozen=True)
class Label:
    """The value at the end of a line, and the name of the method in the large charts. `style` is a CSS class."""

    method: str
    text: str
    name: str
    style: str
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """The curve of one method: an SVG path and optional point markers. `style` is a CSS class."""

    method: str
    style: str
    path: str
    points: Sequence[Point] = ()


@dataclass(frozen=True)
class Tick:
    """The position of an axis tick and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Hover:
    """A vertical band of a chart and its tooltip, one line per row."""

    x: float
    width: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One line chart.

    The zero-shot model is the dashed line `zero_shot_path`. `trained` is the x where the task of a chart is trained,
    `boundaries` are vertical lines between tasks. The titles are those of the axes.
    """

    title: str
    description: str
    frame: Frame
    x_title: str
    y_title: str
    lines: Sequence[Line]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    labels: Sequence[Label]
    hovers: Sequence[Hover]
    zero_shot_path: str
    trained: float | None
    boundaries: Sequence[float]

    @property
    def has_long_names(self) -> bool:
        """Whether the names at the ends of the lines do not fit beside the chart on a narrow screen."""
        return any(len(label.name) > MAX_NARROW_NAME for label in self.labels)


def line_chart(
    title: str,
    curves: Mapping[str, Sequence[Point]],
    frame: Frame,
    *,
    styles: Mapping[str, str],
    description: str,
    x_axis: tuple[str, Mapping[float, str]],
    y_axis: tuple[str, Mapping[float, str]],
    marked: bool = False,
    ends: Mapping[str, str] | None = None,
    gap: float = 0.0,
    hovers: Mapping[float, str] | None = None,
    trained: float | None = None,
    boundaries: Iterable[float] = (),
) -> Chart:
    """Returns the chart of lines through points in units of the data; a NaN breaks a line.

    Args:
        title: what is shown.
        curves: the points of each method; those of zero_shot are a dashed line.
        frame: the plot area.
        styles: the CSS class of each method but zero_shot. Quiet lines are below the others.
        description: the chart in words.
        x_axis: the title of the axis, and the text of each tick.
        y_axis: likewise.
        marked: whether the points have markers.
        ends: the methods with their value at the end of the line, and their name there, or "" for the value alone.
        gap: the minimum distance between the ends.
        hovers: the x of each point and its tooltip.
        trained: the x at which the task of the chart is trained.
        boundaries: the x of lines between tasks.
    """
    placed = {method: [(frame.x(x), frame.y(y)) for x, y in points] for method, points in curves.items()}
    ends, (x_title, x_ticks), (y_title, y_ticks) = ends or {}, x_axis, y_axis
    heights = spread_labels([placed[method][-1][1] + 4 for method in ends], gap, frame.top + 4, frame.y_end - 4)
    return Chart(
        title=title,
        description=description,
        frame=frame,
        x_title=x_title,
        y_title=y_title,
        lines=[
            Line(method, styles[method], svg_path(placed[method]), placed[method] if marked else ())
            for method in sorted((name for name in placed if name != ZERO_SHOT), key=lambda name: styles[name] != QUIET)
        ],
        x_ticks=[Tick(frame.x(at), text) for at, text in x_ticks.items()],
        y_ticks=[Tick(frame.y(at), text) for at, text in y_ticks.items()],
        labels=[
            Label(method, number(curves[method][-1][1]), name, styles.get(method, "reference"), frame.x_end + 8, height)
            for (method, name), height in zip(ends.items(), heights, strict=True)
        ],
        hovers=_bands(hovers or {}, frame),
        zero_shot_path=svg_path(placed.get(ZERO_SHOT, ())),
        trained=None if trained is None else frame.x(trained),
        boundaries=[frame.x(at) for at in boundaries],
    )


def _bands(hovers: Mapping[float, str], frame: Frame) -> list[Hover]:
    """A band around each point that ends halfway to its neighbors."""
    middles = [(frame.x(one) + frame.x(other)) / 2 for one, other in pairwise(hovers)]
    edges = pairwise([float(frame.left), *middles, frame.x_end])
    return [
        Hover(round(left, 1), round(right - left, 1), text)
        for (left, right), text in zip(edges, hovers.values(), strict=bool(hovers))
    ]


def svg_path(points: Sequence[Point]) -> str:
    """An SVG path through the points. A NaN breaks the line."""
    commands, pen_down = [], False
    for x, y in points:
        if not math.isnan(y):
            commands.append(f"{'L' if pen_down else 'M'}{x:g} {y:g}")
        pen_down = not math.isnan(y)
    return "".join(commands)


def spread_labels(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The heights, moved so that neighbors are at least `gap` apart. The order is kept, and all are in [low, high].

    Each height is the mean of two passes, one that pushes down and one that pushes up, so a crowd spreads to both
    sides. The gap shrinks if there is not enough room.
    """
    order = sorted(range(len(heights)), key=lambda index: (heights[index], index))
    gap = min(gap, (high - low) / max(len(heights) - 1, 1))
    rising = [heights[index] for index in order]
    down = _pushed(rising, gap, low, high)
    up = [-value for value in reversed(_pushed([-value for value in reversed(rising)], gap, -high, -low))]
    positions = {index: round((one + other) / 2, 1) for index, one, other in zip(order, down, up, strict=True)}
    return [positions[index] for index in range(len(heights))]


def _pushed(rising: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Pushes each value past the previous one, then all values back below `high`."""
    placed = list(rising)
    for index, value in enumerate(rising):
        placed[index] = max(value, placed[index - 1] + gap if index else low)
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], placed[index + 1] - gap if index + 1 < len(placed) else high)
    return placed


def thin_ticks(values: Sequence[int], most: int) -> list[int]:
    """The first, the last and every n-th value between them: at most `most` values, plus the last one.

    A value too close to the last one is left out.
    """
    step = math.ceil((len(values) - 1) / (most - 1)) if len(values) > most else 1
    kept = list(range(0, len(values), step))
    last = len(values) - 1
    if kept[-1] != last:
        kept = [*(index for index in kept if last - index > step / 2), last]
    return [values[index] for index in kept]


def round_ticks(largest: float) -> list[float]:
    """Tick values from 0 to at least `largest`, in steps of 1, 2 or 5 times a power of ten."""
    if not math.isfinite(largest) or largest <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** math.floor(math.log10(largest / 2))
    step = next(magnitude * factor for factor in (1, 2, 5, 10, 20) if largest / (magnitude * factor) <= 4)
    return [step * index for index in range(math.ceil(largest / step - 1e-9) + 1)]
