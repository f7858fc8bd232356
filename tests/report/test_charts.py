"""Chart geometry against values computed by hand."""

from __future__ import annotations

import math

import pytest

from gift_core.report.charts import Frame, round_ticks, spread_labels, svg_path, thin_ticks


def test_a_frame_maps_the_corners_of_the_data_to_the_corners_of_the_plot() -> None:
    frame = Frame(width=100, height=60, left=10, right=20, top=5, bottom=15, x_max=7, y_max=100)
    assert (frame.x(0), frame.x(7), frame.x(3.5)) == (10, 80, 45)
    assert (frame.y(0), frame.y(100), frame.y(50)) == (45, 5, 25)


def test_a_frame_may_start_at_other_values_than_zero() -> None:
    frame = Frame(width=100, height=60, left=10, right=20, top=5, bottom=15, x_min=2, x_max=9, y_min=50, y_max=100)
    assert (frame.x(2), frame.x(9), frame.x(5.5)) == (10, 80, 45)
    assert (frame.y(50), frame.y(100), frame.y(75)) == (45, 5, 25)


def test_a_nan_breaks_the_path() -> None:
    assert svg_path([(0, 1.5), (1, 2), (2, math.nan), (3, 4)]) == "M0 1.5L1 2M3 4"


def test_labels_spread_to_both_sides_keep_their_order_and_stay_inside() -> None:
    assert spread_labels([50, 51, 10], gap=10, low=0, high=100) == [45.5, 55.5, 10]
    assert spread_labels([95, 99, 98], gap=10, low=0, high=100) == [79.5, 99.5, 89.5]
    assert spread_labels([0, 0, 0], gap=80, low=0, high=100) == [0, 50, 100]
    assert spread_labels([5, 5, 5], gap=10, low=-20, high=40) == [-5, 5, 15]
    assert spread_labels([], gap=10, low=0, high=100) == []


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [(0.9, [0, 0.5, 1.0]), (3.1, [0, 1, 2, 3, 4]), (100, [0, 50, 100]), (0, [0, 1]), (math.nan, [0, 1])],
)
def test_ticks_are_round_and_reach_the_largest_value(largest: float, ticks: list[float]) -> None:
    assert round_ticks(largest) == pytest.approx(ticks)


def test_ticks_of_any_size_are_few_and_reach_the_largest_value() -> None:
    for exponent in range(-6, 7):
        for lead in (1.0, 1.3, 1.99, 2.0, 3.7, 4.0, 5.0, 7.7, 9.99):
            ticks = round_ticks(lead * 10.0**exponent)
            assert 2 <= len(ticks) <= 6
            assert ticks[-1] >= lead * 10.0**exponent * (1 - 1e-6)


@pytest.mark.parametrize(
    ("count", "most", "kept"),
    [
        (3, 12, [0, 1, 2]),
        (20, 12, [*range(0, 18, 2), 19]),
        (50, 12, [*range(0, 50, 5), 49]),
        (13, 12, [*range(0, 13, 2)]),
    ],
)
def test_thinned_ticks_are_evenly_spaced_and_include_both_ends(count: int, most: int, kept: list[int]) -> None:
    assert thin_ticks(range(count), most) == kept
