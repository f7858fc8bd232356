"""Geometry and number formats, worked out by hand."""

from __future__ import annotations

import io
import math

import pandas as pd
import pytest
from PIL import Image

from gift_core.report.contact import thumbnail
from gift_core.report.curves import columns_for
from gift_core.report.drawing import Frame, path_of, round_ticks, spread
from gift_core.report.losses import _points
from gift_core.report.matrices import shade_of
from gift_core.report.words import duration, label, number, plural


def test_a_frame_maps_the_corners_of_the_data_to_the_corners_of_the_plot() -> None:
    frame = Frame(width=100, height=60, left=10, right=20, top=5, bottom=15, x_max=7, y_max=100)
    assert (frame.x(0), frame.x(7), frame.x(3.5)) == (10, 80, 45)
    assert (frame.y(0), frame.y(100), frame.y(50)) == (45, 5, 25)


def test_a_frame_may_begin_elsewhere_than_at_zero() -> None:
    frame = Frame(width=100, height=60, left=10, right=20, top=5, bottom=15, x_min=2, x_max=9, y_min=50, y_max=100)
    assert (frame.x(2), frame.x(9), frame.x(5.5)) == (10, 80, 45)
    assert (frame.y(50), frame.y(100), frame.y(75)) == (45, 5, 25)


def test_a_path_is_lifted_at_a_nan() -> None:
    assert path_of([(0, 1.5), (1, 2), (2, math.nan), (3, 4)]) == "M0 1.5L1 2M3 4"


def test_labels_are_spread_to_both_sides_keep_their_order_and_stay_inside() -> None:
    assert spread([50, 51, 10], gap=10, low=0, high=100) == [45.5, 55.5, 10]
    assert spread([95, 99, 98], gap=10, low=0, high=100) == [79.5, 99.5, 89.5]
    assert spread([0, 0, 0], gap=80, low=0, high=100) == [0, 50, 100]
    assert spread([5, 5, 5], gap=10, low=-20, high=40) == [-5, 5, 15]
    assert spread([], gap=10, low=0, high=100) == []


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


def test_charts_stand_in_as_many_columns_as_leave_the_fewest_holes() -> None:
    assert [columns_for(count) for count in (3, 4, 6, 8, 9, 10, 11, 12)] == [3, 4, 3, 4, 3, 4, 4, 4]


def test_shades_tell_gain_from_loss_by_their_size() -> None:
    shades = [shade_of(difference) for difference in (0.9, -0.9, 1, -4.9, 5, -12, 34.9, 35, -80)]
    assert shades == ["same", "same", "gain1", "loss1", "gain2", "loss3", "gain4", "gain5", "loss5"]


def test_numbers_have_one_decimal_a_true_minus_and_a_dash_for_none() -> None:
    assert [number(value) for value in (78.94, -3.25, -0.01, None, math.nan)] == ["78.9", "−3.2", "0.0", "–", "–"]


def test_durations_read_as_a_person_says_them() -> None:
    assert [duration(seconds) for seconds in (8.26, 59.96, 60, 252, 7500)] == [
        "8.3 s",
        "1 min 0 s",
        "1 min 0 s",
        "4 min 12 s",
        "2 h 5 min",
    ]


def test_a_method_without_a_printed_name_keeps_its_own() -> None:
    assert (label("gift"), label("my_method"), plural(1, "task"), plural(1000, "task")) == (
        "GIFT",
        "my_method",
        "1 task",
        "1,000 tasks",
    )


def test_loss_points_are_means_of_neighbouring_steps_and_end_at_each_task() -> None:
    rows = pd.DataFrame(
        {"position": [0] * 4 + [1] * 2, "step": [0, 1, 2, 3, 0, 1], "value": [1.0, 3.0, 5.0, 7.0, 10.0, 20.0]}
    )
    points = _points(rows, bins=2)
    assert points[:2] == [(0.25, 2.0), (0.75, 6.0)]
    assert points[3:5] == [(1.25, 10.0), (1.75, 20.0)]
    assert [math.isnan(y) for _, y in points] == [False, False, True, False, False, True]


def test_large_pictures_are_made_small_and_small_ones_kept() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (512, 256), "red").save(buffer, "PNG")
    large = thumbnail("a photo", buffer.getvalue())
    assert large.side == 128
    assert large.data_uri.startswith("data:image/jpeg;base64,")
    assert len(large.data_uri) < 3000
