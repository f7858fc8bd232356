"""Transfer against Last: a point a method with bars of one standard deviation, and the better half enlarged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gift_core.metrics import ZERO_SHOT
from gift_core.report.comparison.figures import Comparison, Spread
from gift_core.report.comparison.labelling import FAR, Box, Ground, place_names
from gift_core.report.drawing import Frame, Point, Tick, round_ticks
from gift_core.report.words import label, number

FONT = 12.5
FEW = 8  # up to so many points one chart has room for all names


@dataclass(frozen=True)
class Place:
    """A method's two figures and the number of its group."""

    method: str
    group: int
    x: Spread
    y: Spread


@dataclass(frozen=True)
class Mark:
    """A point, the ends of its bars, and its name, if it has one here, with the line to it where that is far off."""

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
    """One chart; `enlarged` is the part of it that the next one shows: left, top, width, height."""

    title: str
    description: str
    frame: Frame
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero_shot_x: float | None
    zero_shot_y: float | None
    enlarged: tuple[float, float, float, float] | None = None


def scatters_of(comparison: Comparison) -> list[Scatter]:
    """A chart of all methods; where they are many, a second one of its crowded part, whose names stand there alone.

    Empty where a sequence of one task leaves no Transfer.
    """
    places = _places(comparison)
    if not places:
        return []
    frame = _frame(places)
    if len(places) <= FEW:
        return [_scatter("All methods", frame, places, named=places)]
    inner = _frame(_better_half(comparison, places))
    inside = [place for place in places if _holds(inner, place)]
    whole = _scatter("All methods", frame, places, named=[place for place in places if place not in inside])
    corner, opposite = (frame.x(inner.x_min), frame.y(inner.y_max)), (frame.x(inner.x_max), frame.y(inner.y_min))
    part = (*corner, round(opposite[0] - corner[0], 1), round(opposite[1] - corner[1], 1))
    return [replace(whole, enlarged=part), _scatter("The framed part, enlarged", inner, inside, named=inside)]


def _places(comparison: Comparison) -> list[Place]:
    return [
        Place(method, group, spreads["transfer"], spreads["last"])
        for group, methods in enumerate(comparison.groups)
        for method in methods.methods
        for spreads in [comparison.spreads[method]]
        if "transfer" in spreads and spreads["transfer"].mean is not None
    ]


def _better_half(comparison: Comparison, places: Sequence[Place]) -> list[Place]:
    """The half of the contenders with the higher Last."""
    bounds = (ZERO_SHOT, *comparison.runs.references)
    contenders = [place for place in places if place.method not in bounds]
    return sorted(contenders, key=lambda place: -_mean(place.y))[: (len(contenders) + 1) // 2]


def _frame(places: Sequence[Place]) -> Frame:
    x_low, x_high = _range([place.x for place in places])
    y_low, y_high = _range([place.y for place in places])
    return Frame(
        width=1072, height=560, left=46, right=16, top=14, bottom=52,
        x_min=x_low, x_max=x_high, y_min=y_low, y_max=y_high,
    )  # fmt: skip


def _range(spreads: Sequence[Spread]) -> tuple[float, float]:
    lows = [_mean(spread) - (spread.deviation or 0.0) for spread in spreads]
    highs = [_mean(spread) + (spread.deviation or 0.0) for spread in spreads]
    room = max(0.05 * (max(highs) - min(lows)), 0.1)
    return min(lows) - room, max(highs) + room


def _holds(frame: Frame, place: Place) -> bool:
    return frame.x_min <= _mean(place.x) <= frame.x_max and frame.y_min <= _mean(place.y) <= frame.y_max


def _scatter(title: str, frame: Frame, places: Sequence[Place], *, named: Sequence[Place]) -> Scatter:
    zero_shot = next((place for place in places if place.method == ZERO_SHOT), None)
    zero_x = None if zero_shot is None else frame.x(_mean(zero_shot.x))
    zero_y = None if zero_shot is None else frame.y(_mean(zero_shot.y))
    names = {index: label(place.method) for index, place in enumerate(places) if place in named}
    boxes = place_names(names, _ground(frame, places, zero_x, zero_y), font=FONT)
    said = "; ".join(f"{label(place.method)} {number(place.x.mean)} and {number(place.y.mean)}" for place in places)
    return Scatter(
        title=title,
        description=f"{title}. Transfer and Last in percent: {said}.",
        frame=frame,
        marks=tuple(_mark(frame, place, boxes.get(index)) for index, place in enumerate(places)),
        x_ticks=tuple(Tick(frame.x(value), f"{value:g}") for value in _ticks(frame.x_min, frame.x_max)),
        y_ticks=tuple(Tick(frame.y(value), f"{value:g}") for value in _ticks(frame.y_min, frame.y_max)),
        zero_shot_x=zero_x,
        zero_shot_y=zero_y,
    )


def _ground(frame: Frame, places: Sequence[Place], zero_x: float | None, zero_y: float | None) -> Ground:
    points = [_point(frame, place) for place in places]
    lines = [Box(x, y, 2 * _bars(frame, place)[0], 2) for place, (x, y) in zip(places, points, strict=True)]
    lines += [Box(x, y, 2, 2 * _bars(frame, place)[1]) for place, (x, y) in zip(places, points, strict=True)]
    if zero_x is not None and zero_y is not None:
        lines += [Box(zero_x, frame.height / 2, 2, frame.height), Box(frame.width / 2, zero_y, frame.width, 2)]
    return Ground((frame.left + 4, frame.top), (frame.x_end, frame.y_end - 4), points, lines)


def _ticks(low: float, high: float) -> list[float]:
    """Round values inside, twice as many as a small chart has."""
    step = round_ticks((high - low) / 2)[1]
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(step * index, 9) for index in range(first, last + 1)]


def _mark(frame: Frame, place: Place, box: Box | None) -> Mark:
    (x, y), (half_x, half_y) = _point(frame, place), _bars(frame, place)
    name = label(place.method)
    return Mark(
        style=f"g{place.group}",
        x=x,
        y=y,
        across=(round(max(x - half_x, frame.left), 1), round(min(x + half_x, frame.x_end), 1)),
        upright=(round(max(y - half_y, frame.top), 1), round(min(y + half_y, frame.y_end), 1)),
        name=name if box else "",
        name_at=(box.x, box.y) if box else (x, y),
        leader=box.edge_towards((x, y)) if box and box.distance > FAR else None,
        tip=f"{name}\nTransfer\t{number(place.x.mean)}\nLast\t{number(place.y.mean)}",
    )


def _point(frame: Frame, place: Place) -> Point:
    return frame.x(_mean(place.x)), frame.y(_mean(place.y))


def _bars(frame: Frame, place: Place) -> Point:
    """Half the lengths of the two bars in the chart's units."""
    across = frame.x(frame.x_min + (place.x.deviation or 0.0)) - frame.left
    up = frame.y_end - frame.y(frame.y_min + (place.y.deviation or 0.0))
    return round(across, 1), round(up, 1)


def _mean(spread: Spread) -> float:
    assert spread.mean is not None, "methods without Transfer have no point"
    return spread.mean
