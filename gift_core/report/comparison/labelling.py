"""Places for the names of points in a chart, so that no two names lie over each other and few lie over a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gift_core.report.drawing import Point

LETTER = 0.56  # a letter's mean width in font sizes
LINE = 1.2  # a line's height in font sizes
DISTANCES = (9, 15, 24, 36, 50, 68, 90, 115, 145, 180, 220)
ANGLES = 24
SWEEPS = 4  # each name is placed anew so often, seeing where the others went
FAR = 16.0  # beyond this a thin line leads from the point to its name
NAME_OVER_NAME, NAME_OVER_POINT, NAME_OVER_LINE, LEADER_OVER_NAME, LEADER_OVER_POINT = 1000.0, 120.0, 30.0, 60.0, 40.0


@dataclass(frozen=True)
class Box:
    """A name's rectangle by its middle, and how far it stands from its point."""

    x: float
    y: float
    width: float
    height: float
    distance: float = 0.0

    def overlaps(self, other: Box) -> bool:
        """Whether the two rectangles share any area."""
        return (
            abs(self.x - other.x) * 2 < self.width + other.width
            and abs(self.y - other.y) * 2 < self.height + other.height
        )

    def covers(self, point: Point, margin: float = 0.0) -> bool:
        """Whether the point lies in the rectangle, widened by `margin` on all sides."""
        x, y = point
        return abs(x - self.x) <= self.width / 2 + margin and abs(y - self.y) <= self.height / 2 + margin

    def edge_towards(self, point: Point) -> Point:
        """The place on the rectangle that is nearest to the point."""
        x, y = point
        half_width, half_height = self.width / 2, self.height / 2
        return (
            round(min(max(x, self.x - half_width), self.x + half_width), 1),
            round(min(max(y, self.y - half_height), self.y + half_height), 1),
        )


@dataclass(frozen=True)
class Ground:
    """What lies in the chart before any name does: its corners, the points, and lines as thin boxes."""

    low: Point
    high: Point
    points: Sequence[Point]
    lines: Sequence[Box] = ()
    radius: float = 6.0


def place_names(names: Mapping[int, str], ground: Ground, *, font: float) -> dict[int, Box]:
    """A box for each name, by the number of its point; all inside the chart, the same for the same input.

    Each name in turn takes the cheapest place around its point: a name over a name costs most, then over a point.
    """
    placed: dict[int, Box] = {}
    for _ in range(SWEEPS):
        for index, name in names.items():
            others = {other: box for other, box in placed.items() if other != index}
            candidates = _around(ground.points[index], len(name) * LETTER * font, LINE * font)
            inside = [box for box in candidates if _inside(box, ground)]
            assert inside, "a chart has room for a name"
            placed[index] = min(inside, key=lambda box: _cost(box, index, others, ground))
    return placed


def _around(point: Point, width: float, height: float) -> Iterator[Box]:
    for distance in DISTANCES:
        for turn in range(ANGLES):
            across, down = math.cos(turn * math.tau / ANGLES), math.sin(turn * math.tau / ANGLES)
            x = point[0] + across * (distance + width / 2)
            y = point[1] + down * (distance + height / 2)
            yield Box(round(x, 1), round(y, 1), width, height, distance)


def _inside(box: Box, ground: Ground) -> bool:
    across = ground.low[0] <= box.x - box.width / 2 and box.x + box.width / 2 <= ground.high[0]
    return across and ground.low[1] <= box.y - box.height / 2 and box.y + box.height / 2 <= ground.high[1]


def _cost(box: Box, index: int, others: Mapping[int, Box], ground: Ground) -> float:
    way = _way(ground.points[index], box)
    foreign = [point for other, point in enumerate(ground.points) if other != index]
    return (
        box.distance
        + NAME_OVER_NAME * sum(box.overlaps(other) for other in others.values())
        + NAME_OVER_POINT * sum(box.covers(point, ground.radius) for point in ground.points)
        + NAME_OVER_LINE * sum(box.overlaps(line) for line in ground.lines)
        + LEADER_OVER_NAME * sum(other.covers(step) for other in others.values() for step in way)
        + LEADER_OVER_NAME * sum(box.covers(s) for o, other in others.items() for s in _way(ground.points[o], other))
        + LEADER_OVER_POINT * sum(math.dist(point, step) < ground.radius for point in foreign for step in way)
    )


def _way(point: Point, box: Box) -> list[Point]:
    """Places along the line from the point to its name; none where the name is near."""
    if box.distance <= FAR:
        return []
    x, y = box.edge_towards(point)
    steps = [step / 12 for step in range(1, 12)]
    return [(point[0] + (x - point[0]) * step, point[1] + (y - point[1]) * step) for step in steps]
