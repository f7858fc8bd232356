"""Curves over the sequence: the layout of the charts and the points of the losses."""

from __future__ import annotations

import math

import pandas as pd

from gift_core.report.curves import _loss_points, panel_columns


def test_panel_columns_leave_the_fewest_gaps() -> None:
    assert [panel_columns(count) for count in (3, 4, 6, 8, 9, 10, 11, 12)] == [3, 4, 3, 4, 3, 4, 4, 4]


def test_loss_points_are_means_of_neighboring_iterations_and_end_at_each_task() -> None:
    rows = pd.DataFrame(
        {"position": [0] * 4 + [1] * 2, "iteration": [0, 1, 2, 3, 0, 1], "value": [1.0, 3.0, 5.0, 7.0, 10.0, 20.0]}
    )
    points = _loss_points(rows, bins=2)
    assert points[:2] == [(0.25, 2.0), (0.75, 6.0)]
    assert points[3:5] == [(1.25, 10.0), (1.75, 20.0)]
    assert [math.isnan(y) for _, y in points] == [False, False, True, False, False, True]
