"""Transfer against Last: a point per method with bars of one standard deviation, and labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gift_core.metrics import ZERO_SHOT
from gift_core.report.charts import Frame, Point, Tick, round_ticks
from gift_core.report.comparison.seed_statistics import Comparison, Spread
from gift_core.report.labels import label, number

FONT_SIZE = 12.5
FEW_POINTS = 8  # with more points, one chart has no room for all labels
LETTER_WIDTH = 0.56  # mean width in font sizes
LINE_HEIGHT = 1.2  # in font sizes
DISTANCES = (9, 15, 24, 36, 50, 68, 90, 115, 145, 180, 220)  # of a label from its point
ANGLES = 24
SWEEPS = 4  # how often every label is placed again, given the positions of the others
LEADER_DISTANCE = 16.0  # a label farther away gets a leader line to its point
LABEL_ON_LABEL, LABEL_ON_POINT, LABEL_ON_LINE, LEADER_ON_LABEL, LEADER_ON_POINT = 1000.0, 120.0, 30.0, 60.0, 40.0


@dataclass(frozen=True)
class MethodPoint:
    """A method's Transfer (x) and Last (y), and its CSS class."""

    method: str
    style: str
    x: Spread
    y: Spread


@dataclass(frozen=True)
class Mark:
    """A point with the ends of its bars, and its label, if it has one here, with the end of its leader line."""

    style: str
    x: float
    y: float
    across: Point
    upright: Point
    name: str
    name_at: Point
    leader: Point | None
    tip: str


@dataclass(frozen=True)
class Scatter:
    """One chart. `enlarged` is the part shown by the next chart: left, top, width, height."""

    title: str
    description: str
    frame: Frame
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero_shot_x: float | None
    zero_shot_y: float | None
    enlarged: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class LabelBox:
    """The rectangle of a label, by its center, and its distance from the point."""

    x: float
    y: float
    width: float
    height: float
    distance: float = 0.0

    def overlaps(self, other: LabelBox) -> bool:
        """Whether the two rectangles share any area."""
        return (
            abs(self.x - other.x) * 2 < self.width + other.width
            and abs(self.y - other.y) * 2 < self.height + other.height
        )

    def covers(self, point: Point, margin: float = 0.0) -> bool:
        """Whether the point is inside the rectangle, extended by `margin` on all sides."""
        x, y = point
        return abs(x - self.x) <= self.width / 2 + margin and abs(y - self.y) <= self.height / 2 + margin

    def nearest_edge(self, point: Point) -> Point:
        """The position in the rectangle that is nearest to the point."""
        x, y = point
        half_width, half_height = self.width / 2, self.height / 2
        return (
            round(min(max(x, self.x - half_width), self.x + half_width), 1),
            round(min(max(y, self.y - half_height), self.y + half_height), 1),
        )


@dataclass(frozen=True)
class PlotArea:
    """What labels have to avoid: two corners of the chart, the points, and lines as thin boxes."""

    low: Point
    high: Point
    points: Sequence[Point]
    lines: Sequence[LabelBox] = ()
    radius: float = 6.0


def scatter_charts(comparison: Comparison) -> list[Scatter]:
    """A chart of all methods. With many methods, a second chart enlarges the crowded part and labels its points.

    Empty if there is no Transfer, as in a sequence of one task.
    """
    points = _method_points(comparison)
    if not points:
        return []
    frame = _frame(points)
    if len(points) <= FEW_POINTS:
        return [_scatter("All methods", frame, points, labeled=points)]
    inner = _frame(_better_half(comparison, points))
    inside = [point for point in points if _is_inside(inner, point)]
    whole = _scatter("All methods", frame, points, labeled=[point for point in points if point not in inside])
    corner, opposite = (frame.x(inner.x_min), frame.y(inner.y_max)), (frame.x(inner.x_max), frame.y(inner.y_min))
    part = (*corner, round(opposite[0] - corner[0], 1), round(opposite[1] - corner[1], 1))
    return [replace(whole, enlarged=part), _scatter("The framed part, enlarged", inner, inside, labeled=inside)]


def place_labels(names: Mapping[int, str], area: PlotArea, *, font_size: float) -> dict[int, LabelBox]:
    """A box inside the chart for each label, by the index of its point. Deterministic.

    Each label in turn takes the position around its point with the lowest cost. Covering a label costs most, then
    covering a point.
    """
    placed: dict[int, LabelBox] = {}
    for _ in range(SWEEPS):
        for index, name in names.items():
            others = {other: box for other, box in placed.items() if other != index}
            width, height = len(name) * LETTER_WIDTH * font_size, LINE_HEIGHT * font_size
            inside = [box for box in _candidates(area.points[index], width, height) if _fits(box, area)]
            assert inside, "a chart has room for a label"
            placed[index] = min(inside, key=lambda box: _cost(box, index, others, area))
    return placed


def _method_points(comparison: Comparison) -> list[MethodPoint]:
    return [
        MethodPoint(method, comparison.styles[method], spreads["transfer"], spreads["last"])
        for group in comparison.groups
        for method in group.methods
        for spreads in [comparison.spreads[method]]
        if "transfer" in spreads and spreads["transfer"].mean is not None
    ]


def _better_half(comparison: Comparison, points: Sequence[MethodPoint]) -> list[MethodPoint]:
    """The half of the contenders with the higher Last."""
    excluded = (ZERO_SHOT, *comparison.runs.references)
    contenders = [point for point in points if point.method not in excluded]
    return sorted(contenders, key=lambda point: -_mean(point.y))[: (len(contenders) + 1) // 2]


def _frame(points: Sequence[MethodPoint]) -> Frame:
    x_low, x_high = _range([point.x for point in points])
    y_low, y_high = _range([point.y for point in points])
    return Frame(
        width=1072, height=560, left=46, right=16, top=14, bottom=52,
        x_min=x_low, x_max=x_high, y_min=y_low, y_max=y_high,
    )  # fmt: skip


def _range(spreads: Sequence[Spread]) -> tuple[float, float]:
    lows = [_mean(spread) - (spread.deviation or 0.0) for spread in spreads]
    highs = [_mean(spread) + (spread.deviation or 0.0) for spread in spreads]
    margin = max(0.05 * (max(highs) - min(lows)), 0.1)
    return min(lows) - margin, max(highs) + margin


def _is_inside(frame: Frame, point: MethodPoint) -> bool:
    return frame.x_min <= _mean(point.x) <= frame.x_max and frame.y_min <= _mean(point.y) <= frame.y_max


def _scatter(title: str, frame: Frame, points: Sequence[MethodPoint], *, labeled: Sequence[MethodPoint]) -> Scatter:
    zero_shot = next((point for point in points if point.method == ZERO_SHOT), None)
    zero_x = None if zero_shot is None else frame.x(_mean(zero_shot.x))
    zero_y = None if zero_shot is None else frame.y(_mean(zero_shot.y))
    names = {index: label(point.method) for index, point in enumerate(points) if point in labeled}
    boxes = place_labels(names, _plot_area(frame, points, zero_x, zero_y), font_size=FONT_SIZE)
    values = "; ".join(f"{label(point.method)} {number(point.x.mean)} and {number(point.y.mean)}" for point in points)
    return Scatter(
        title=title,
        description=f"{title}. Transfer and Last in percent: {values}.",
        frame=frame,
        marks=tuple(_mark(frame, point, boxes.get(index)) for index, point in enumerate(points)),
        x_ticks=tuple(Tick(frame.x(value), f"{value:g}") for value in _ticks(frame.x_min, frame.x_max)),
        y_ticks=tuple(Tick(frame.y(value), f"{value:g}") for value in _ticks(frame.y_min, frame.y_max)),
        zero_shot_x=zero_x,
        zero_shot_y=zero_y,
    )


def _plot_area(frame: Frame, points: Sequence[MethodPoint], zero_x: float | None, zero_y: float | None) -> PlotArea:
    positions = [_position(frame, point) for point in points]
    lines = [LabelBox(x, y, 2 * _bars(frame, point)[0], 2) for point, (x, y) in zip(points, positions, strict=True)]
    lines += [LabelBox(x, y, 2, 2 * _bars(frame, point)[1]) for point, (x, y) in zip(points, positions, strict=True)]
    if zero_x is not None and zero_y is not None:
        lines.append(LabelBox(zero_x, frame.height / 2, 2, frame.height))
        lines.append(LabelBox(frame.width / 2, zero_y, frame.width, 2))
    return PlotArea((frame.left + 4, frame.top), (frame.x_end, frame.y_end - 4), positions, lines)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the bounds, about twice as many as a small chart has."""
    step = round_ticks((high - low) / 2)[1]
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(step * index, 9) for index in range(first, last + 1)]


def _mark(frame: Frame, point: MethodPoint, box: LabelBox | None) -> Mark:
    (x, y), (half_x, half_y) = _position(frame, point), _bars(frame, point)
    name = label(point.method)
    return Mark(
        style=point.style,
        x=x,
        y=y,
        across=(round(max(x - half_x, frame.left), 1), round(min(x + half_x, frame.x_end), 1)),
        upright=(round(max(y - half_y, frame.top), 1), round(min(y + half_y, frame.y_end), 1)),
        name=name if box else "",
        name_at=(box.x, box.y) if box else (x, y),
        leader=box.nearest_edge((x, y)) if box and box.distance > LEADER_DISTANCE else None,
        tip=f"{name}\nTransfer\t{number(point.x.mean)}\nLast\t{number(point.y.mean)}",
    )


def _position(frame: Frame, point: MethodPoint) -> Point:
    return frame.x(_mean(point.x)), frame.y(_mean(point.y))


def _bars(frame: Frame, point: MethodPoint) -> Point:
    """Half the lengths of the two bars in view box units."""
    across = frame.x(frame.x_min + (point.x.deviation or 0.0)) - frame.left
    up = frame.y_end - frame.y(frame.y_min + (point.y.deviation or 0.0))
    return round(across, 1), round(up, 1)


def _mean(spread: Spread) -> float:
    assert spread.mean is not None, "methods without Transfer have no point"
    return spread.mean


def _candidates(point: Point, width: float, height: float) -> Iterator[LabelBox]:
    for distance in DISTANCES:
        for turn in range(ANGLES):
            across, down = math.cos(turn * math.tau / ANGLES), math.sin(turn * math.tau / ANGLES)
            x = point[0] + across * (distance + width / 2)
            y = point[1] + down * (distance + height / 2)
            yield LabelBox(round(x, 1), round(y, 1), width, height, distance)


def _fits(box: LabelBox, area: PlotArea) -> bool:
    across = area.low[0] <= box.x - box.width / 2 and box.x + box.width / 2 <= area.high[0]
    return across and area.low[1] <= box.y - box.height / 2 and box.y + box.height / 2 <= area.high[1]


def _cost(box: LabelBox, index: int, others: Mapping[int, LabelBox], area: PlotArea) -> float:
    leader = _leader(area.points[index], box)
    foreign = [point for other, point in enumerate(area.points) if other != index]
    return (
        box.distance
        + LABEL_ON_LABEL * sum(box.overlaps(other) for other in others.values())
        + LABEL_ON_POINT * sum(box.covers(point, area.radius) for point in area.points)
        + LABEL_ON_LINE * sum(box.overlaps(line) for line in area.lines)
        + LEADER_ON_LABEL * sum(other.covers(step) for other in others.values() for step in leader)
        + LEADER_ON_LABEL * sum(box.covers(s) for o, other in others.items() for s in _leader(area.points[o], other))
        + LEADER_ON_POINT * sum(math.dist(point, step) < area.radius for point in foreign for step in leader)
    )


def _leader(point: Point, box: LabelBox) -> list[Point]:
    """Positions along the leader line, empty if the label is near its point."""
    if box.distance <= LEADER_DISTANCE:
        return []
    x, y = box.nearest_edge(point)
    steps = [step / 12 for step in range(1, 12)]
    return [(point[0] + (x - point[0]) * step, point[1] + (y - point[1]) * step) for step in steps]
