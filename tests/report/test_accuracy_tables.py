"""The result table: references, intervals, the seeds of a comparison, and the best rate of a search."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gift_core.report.accuracies import Score, accuracy_interval
from gift_core.report.accuracy_tables import reference_rows, result_rows
from gift_core.report.comparison.seed_statistics import difference_of
from gift_core.report.curves import mean_chart
from gift_core.report.highlight import baseline_method, best_method
from gift_core.report.rate_search import RateSearch, Trial
from tests.report.run_folder import MATRICES, record_of

SEPARATE = [[40, 60, 50], [90, 40, 30], [30, 95, 30], [20, 30, 99]]
JOINT = [[40, 60, 50], [90, 60, 50], [90, 95, 50], [90, 95, 98]]


def test_upper_references_are_never_best_or_baseline(tmp_path: Path) -> None:
    record = record_of(tmp_path, matrices={"individual": SEPARATE, "joint": JOINT, **MATRICES})
    assert (best_method(record), baseline_method(record)) == ("gift", "finetune")
    assert [row.name for row in reference_rows(record)] == ["Individual", "Joint"]
    marked = [cell.text for row in result_rows(record) for cell in row.cells if cell.best]
    assert marked == ["90.0", "53.0", "71.1", "80.0", "4.0"]
    # of separate models only Own task means something
    assert [cell.text for cell in reference_rows(record)[0].cells] == ["–", "–", "–", "–", "94.7"]
    assert "individual" not in {line.method for line in mean_chart(record).lines}
    # without plain fine-tuning the baseline is the contender with the lowest Last
    others = {"gift": MATRICES["gift"], "zscl": MATRICES["finetune"], "l2": SEPARATE}
    assert baseline_method(record_of(tmp_path / "others", matrices=others)) == "l2"


def test_the_interval_of_a_mean_contains_the_truth_in_95_of_100_samples() -> None:
    true, images = np.array([0.6, 0.9, 0.97]), [25, 100, 40]
    samples = np.random.default_rng(0).binomial(images, true, size=(4000, 3)) / images * 100
    intervals = [accuracy_interval(sample.tolist(), images) for sample in samples]
    assert np.mean([low <= 100 * true.mean() <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.015)


def test_the_interval_is_of_paired_differences_and_excludes_zero_beyond_the_noise() -> None:
    difference = difference_of(pd.Series({1: 81.0, 2: 92.0, 3: 73.0}), pd.Series({1: 80.0, 2: 90.0, 3: 70.0}))
    assert difference is not None and difference.low is not None and difference.high is not None
    margin = 4.302653 / math.sqrt(3)  # differences 1, 2, 3: mean 2, deviation 1
    assert (difference.mean, difference.count) == (2.0, 3)
    assert (difference.low, difference.high) == pytest.approx((2 - margin, 2 + margin))
    assert not difference.exceeds_noise
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


START = {"birds": Score(50, 100), "digits": Score(80, 100), "letters": Score(60, 100)}


def trial(rate: float, birds: int, digits: int, letters: int) -> Trial:
    return Trial(rate, {"birds": Score(birds, 100), "digits": Score(digits, 100), "letters": Score(letters, 100)}, 1.0)


def test_the_best_rate_gains_the_most_minus_what_it_loses_and_of_equal_ones_is_the_lowest() -> None:
    slow, good, greedy = trial(1e-6, 60, 80, 60), trial(1e-5, 80, 78, 58), trial(1e-4, 85, 60, 40)
    search = RateSearch("birds", START, [slow, good, greedy])
    assert (search.best, search.similar) == (good, [greedy])
    assert (search.gained(good), search.lost(good)) == (pytest.approx(30), pytest.approx(2))  # in points
    assert search.lost(trial(1e-5, 70, 70, 66)) == pytest.approx((10 - 6) / 2)
    high = trial(1e-5, 70, 70, 50)
    assert RateSearch("birds", START, [high, slow]).best is slow
