"""Statistics over few seeds: Student's t against published tables, intervals computed by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gift_core.report.comparison.seed_statistics import central_probability, difference_of, spread_of, t_quantile

# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2
PUBLISHED = [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (30, 2.042)]


@pytest.mark.parametrize(("freedom", "quantile"), PUBLISHED)
def test_the_t_quantile_matches_the_published_table(freedom: int, quantile: float) -> None:
    assert t_quantile(0.95, freedom) == pytest.approx(quantile, abs=5e-4)


def test_with_one_degree_of_freedom_the_t_quantile_is_a_tangent() -> None:
    assert t_quantile(0.9, 1) == pytest.approx(math.tan(0.9 * math.pi / 2))


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 7])
def test_the_probability_is_the_integral_of_the_density(freedom: int) -> None:
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    width, bound = 1e-4, 1.7
    middles = [(step + 0.5) * width for step in range(round(bound / width))]
    area = 2 * width * sum(scale * (1 + t * t / freedom) ** (-(freedom + 1) / 2) for t in middles)
    assert central_probability(math.atan(bound / math.sqrt(freedom)), freedom) == pytest.approx(area, abs=1e-7)


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
    others = pd.Series({1: 50.0, 2: 60.0, 3: 70.0})
    gain = pd.Series({1: 1.0, 2: 1.1, 3: 1.2})
    above, below = difference_of(others + gain, others), difference_of(others - gain, others)
    assert above is not None and above.exceeds_noise
    assert below is not None and below.exceeds_noise


def test_only_common_seeds_are_paired() -> None:
    difference = difference_of(pd.Series({1: 5.0, 2: 7.0}), pd.Series({2: 4.0, 3: 9.0}))
    assert difference is not None
    assert (difference.mean, difference.low, difference.count) == (3.0, None, 1)
    assert not difference.exceeds_noise
    assert difference_of(pd.Series({1: 5.0}), pd.Series({2: 4.0})) is None
