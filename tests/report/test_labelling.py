"""Names beside points: none over another, none outside, the same every time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from gift_core.report.comparison.labelling import Box, Ground, place_names

LOW, HIGH = (0.0, 0.0), (1000.0, 600.0)


def crowd(seed: int, count: int = 23) -> Ground:
    points = np.random.default_rng(seed).normal((700, 300), (90, 70), (count, 2)).round(1)
    return Ground(LOW, HIGH, [(float(x), float(y)) for x, y in points])


@pytest.mark.parametrize("seed", range(4))
def test_the_names_of_a_crowd_lie_over_no_other_name(seed: int) -> None:
    boxes = place_names(dict.fromkeys(range(23), "GIFT, initial teacher"), crowd(seed), font=12)
    assert not any(box.overlaps(other) for box, other in combinations(boxes.values(), 2))


def test_every_name_stands_inside_the_chart() -> None:
    corners = [LOW, HIGH, (0.0, 600.0), (1000.0, 0.0)]
    for box in place_names(dict.fromkeys(range(4), "a name"), Ground(LOW, HIGH, corners), font=12).values():
        assert box.width / 2 <= box.x <= 1000 - box.width / 2
        assert box.height / 2 <= box.y <= 600 - box.height / 2


def test_a_lonely_point_has_its_name_close_by() -> None:
    [box] = place_names({0: "a name"}, Ground(LOW, HIGH, [(500.0, 300.0)]), font=12).values()
    assert box.distance < 16
    assert not box.covers((500.0, 300.0))


def test_points_without_a_name_are_not_covered() -> None:
    points = [(500.0, 300.0), (540.0, 300.0)]
    [box] = place_names({0: "a name"}, Ground(LOW, HIGH, points), font=12).values()
    assert not box.covers(points[1], 6.0)


def test_the_same_points_give_the_same_places() -> None:
    names = {index: f"method {index}" for index in range(23)}
    assert place_names(names, crowd(1), font=12) == place_names(names, crowd(1), font=12)


def test_a_leader_ends_at_the_edge_of_the_name() -> None:
    assert Box(50, 20, 20, 10).edge_towards((0, 20)) == (40, 20)
    assert Box(50, 20, 20, 10).edge_towards((55, 100)) == (55, 25)
