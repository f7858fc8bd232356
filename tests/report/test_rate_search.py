"""Which rate is the best one, by numbers that can be computed by hand."""

from __future__ import annotations

import pytest

from gift_core.report.rate_search import RateSearch, Score, Trial

START = {"birds": Score(50, 100), "digits": Score(80, 100), "letters": Score(60, 100)}


def trial(rate: float, birds: int, digits: int, letters: int) -> Trial:
    return Trial(rate, {"birds": Score(birds, 100), "digits": Score(digits, 100), "letters": Score(letters, 100)}, 1.0)


def test_gains_and_losses_are_points_against_the_start() -> None:
    search = RateSearch("birds", START, [trial(1e-5, 70, 70, 66)])
    assert search.gained(search.trials[0]) == pytest.approx(20)
    assert search.lost(search.trials[0]) == pytest.approx((10 - 6) / 2)


def test_the_best_rate_gains_the_most_minus_what_it_loses() -> None:
    slow, good, greedy = trial(1e-6, 60, 80, 60), trial(1e-5, 80, 78, 58), trial(1e-4, 85, 60, 40)
    search = RateSearch("birds", START, [slow, good, greedy])
    assert search.best is good
    assert search.similar == [greedy]


def test_of_equal_rates_the_lowest_is_the_best() -> None:
    low, high = trial(1e-6, 60, 80, 60), trial(1e-5, 70, 70, 50)
    assert RateSearch("birds", START, [high, low]).best is low


def test_without_other_tasks_only_the_gain_counts() -> None:
    trials = [Trial(rate, {"birds": Score(correct, 100)}, 1.0) for rate, correct in ((1e-6, 60), (1e-5, 70))]
    search = RateSearch("birds", {"birds": START["birds"]}, trials)
    assert search.best.rate == 1e-5 and search.lost(search.best) == 0
