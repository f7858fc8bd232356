"""Label placement: labels do not overlap, stay inside the chart, and are reproducible."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from gift_core.report.comparison.scatter_chart import LabelBox, PlotArea, place_labels

LOW, HIGH = (0.0, 0.0), (1000.0, 600.0)


def crowd(seed: int, count: int = 23) -> PlotArea:
    points = np.random.default_rng(seed).normal((700, 300), (90, 70), (count, 2)).round(1)
    return PlotArea(LOW, HIGH, [(float(x), float(y)) for x, y in points])


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_a_crowd_do_not_overlap(seed: int) -> None:
    boxes = place_labels(dict.fromkeys(range(23), "GIFT, initial teacher"), crowd(seed), font_size=12)
    assert not any(box.overlaps(other) for box, other in combinations(boxes.values(), 2))


def test_labels_stay_inside_the_chart() -> None:
    corners = [LOW, HIGH, (0.0, 600.0), (1000.0, 0.0)]
    for box in place_labels(dict.fromkeys(range(4), "a label"), PlotArea(LOW, HIGH, corners), font_size=12).values():
        assert box.width / 2 <= box.x <= 1000 - box.width / 2
        assert box.height / 2 <= box.y <= 600 - box.height / 2


def test_a_label_is_close_to_its_point_and_covers_no_other() -> None:
    points = [(500.0, 300.0), (540.0, 300.0)]
    [box] = place_labels({0: "a label"}, PlotArea(LOW, HIGH, points), font_size=12).values()
    assert box.distance < 16 and not box.covers(points[0]) and not box.covers(points[1], 6.0)


def test_a_leader_line_ends_at_the_edge_of_the_label() -> None:
    assert LabelBox(50, 20, 20, 10).nearest_edge((0, 20)) == (40, 20)
    assert LabelBox(50, 20, 20, 10).nearest_edge((55, 100)) == (55, 25)
