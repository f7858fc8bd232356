"""Chart geometry and the formats of numbers and names, against values computed by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gift_core.report.charts import Frame, round_ticks, spread_labels, svg_path, thin_ticks
from gift_core.report.curves import _loss_points, panel_columns
from gift_core.report.labels import label, number, shorten, signed, task_list


def test_a_frame_maps_the_corners_of_the_data_to_the_plot_and_a_nan_breaks_a_path() -> None:
    frame = Frame(width=100, height=60, left=10, right=20, top=5, bottom=15, x_min=2, x_max=9, y_min=50, y_max=100)
    assert (frame.x(2), frame.x(9), frame.x(5.5)) == (10, 80, 45)
    assert (frame.y(50), frame.y(100), frame.y(75)) == (45, 5, 25)
    assert svg_path([(0, 1.5), (1, 2), (2, math.nan), (3, 4)]) == "M0 1.5L1 2M3 4"


def test_labels_spread_to_both_sides_keep_their_order_and_stay_inside() -> None:
    assert spread_labels([50, 51, 10], gap=10, low=0, high=100) == [45.5, 55.5, 10]
    assert spread_labels([95, 99, 98], gap=10, low=0, high=100) == [79.5, 99.5, 89.5]
    assert spread_labels([0, 0, 0], gap=80, low=0, high=100) == [0, 50, 100]


def test_ticks_are_round_and_few_and_reach_the_largest_value() -> None:
    for largest, ticks in {0.9: [0, 0.5, 1.0], 3.1: [0, 1, 2, 3, 4], 100: [0, 50, 100], 0: [0, 1]}.items():
        assert round_ticks(largest) == pytest.approx(ticks)
    assert round_ticks(math.nan) == [0, 1]
    for largest in (lead * 10.0**exponent for exponent in range(-6, 7) for lead in (1.0, 1.99, 3.7, 9.99)):
        ticks = round_ticks(largest)
        assert 2 <= len(ticks) <= 6 and ticks[-1] >= largest * (1 - 1e-6)


def test_thinned_ticks_include_both_ends_and_panel_columns_leave_the_fewest_gaps() -> None:
    kept = {3: [0, 1, 2], 20: [*range(0, 18, 2), 19], 50: [*range(0, 50, 5), 49], 13: [*range(0, 13, 2)]}
    assert {count: thin_ticks(range(count), 12) for count in kept} == kept
    assert [panel_columns(count) for count in (3, 4, 6, 8, 9, 10, 11, 12)] == [3, 4, 3, 4, 3, 4, 4, 4]


def test_loss_points_are_means_of_neighboring_iterations_and_end_at_each_task() -> None:
    columns = {"position": [0] * 4 + [1] * 2, "iteration": [0, 1, 2, 3, 0, 1], "value": [1.0, 3.0, 5.0, 7.0, 10, 20]}
    points = _loss_points(pd.DataFrame(columns), bins=2)
    assert points[:2] == [(0.25, 2.0), (0.75, 6.0)]
    assert points[3:5] == [(1.25, 10.0), (1.75, 20.0)]
    assert [math.isnan(y) for _, y in points] == [False, False, True, False, False, True]


def test_numbers_have_one_decimal_and_a_true_minus_and_long_names_and_lists_are_cut() -> None:
    assert [number(value) for value in (78.94, -3.25, -0.01, None, math.nan)] == ["78.9", "−3.2", "0.0", "–", "–"]
    assert [signed(value) for value in (1.24, -0.4, 0.04, -0.04, 0.0)] == ["+1.2", "−0.4", "0.0", "0.0", "0.0"]
    assert (label("gift"), label("my_method")) == ("GIFT", "my_method")
    assert (shorten("x" * 22), shorten("x" * 23)) == ("x" * 22, "x" * 21 + "…")
    tasks = ("a", "b", "c", "d", "e", "f")
    found = [task_list(tasks, 6), task_list(tasks, 7), task_list(tasks[:5], 7)]
    assert found == ["all 6 tasks", "a, b, c, d and 2 more", "a, b, c, d, e"]
