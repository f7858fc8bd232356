"""Statistics over few seeds: intervals computed by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gift_core.report.comparison.seed_statistics import difference_of, spread_of


def test_the_spread_is_the_sample_deviation() -> None:
    spread = spread_of(pd.Series([80.0, 82.0, 84.0]))
    assert (spread.mean, spread.deviation, spread.count) == (82.0, 2.0, 3)


def test_one_value_has_no_deviation_and_no_value_has_no_mean() -> None:
    assert spread_of(pd.Series([80.0])).deviation is None
    assert spread_of(pd.Series([], dtype=float)).mean is None


def test_the_interval_is_of_paired_differences() -> None:
    difference = difference_of(pd.Series({1: 81.0, 2: 92.0, 3: 73.0}), pd.Series({1: 80.0, 2: 90.0, 3: 70.0}))
    assert difference is not None and difference.low is not None and difference.high is not None
    margin = 4.302653 / math.sqrt(3)  # differences 1, 2, 3: mean 2, deviation 1
    assert (difference.mean, difference.count) == (2.0, 3)
    assert (difference.low, difference.high) == pytest.approx((2 - margin, 2 + margin))
    assert not difference.exceeds_noise


def test_a_difference_exceeds_the_noise_if_its_interval_excludes_zero() -> None:
    others, gain = pd.Series({1: 50.0, 2: 60.0, 3: 70.0}), pd.Series({1: 1.0, 2: 1.1, 3: 1.2})
    for values in (others + gain, others - gain):
        difference = difference_of(values, others)
        assert difference is not None and difference.exceeds_noise


def test_only_common_seeds_are_paired() -> None:
    difference = difference_of(pd.Series({1: 5.0, 2: 7.0}), pd.Series({2: 4.0, 3: 9.0}))
    assert difference is not None
    assert (difference.mean, difference.low, difference.count) == (3.0, None, 1)
    assert not difference.exceeds_noise
    assert difference_of(pd.Series({1: 5.0}), pd.Series({2: 4.0})) is None
