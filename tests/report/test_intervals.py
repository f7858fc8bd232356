"""The 95% intervals of accuracies: Wilson's for one test set, combined for a mean of several."""

from __future__ import annotations

import numpy as np
import pytest

from gift_core.report.accuracies import accuracy_interval, widest_margin


def test_the_interval_of_one_test_set_is_wilsons() -> None:
    # 20 of 25: center (0.8 + 0.0768) / 1.1537 = 0.7600, half 1.96 * sqrt(0.0064 + 0.0015) / 1.1537 = 0.1514
    assert accuracy_interval([80.0], [25]) == (pytest.approx(60.87, abs=0.01), pytest.approx(91.14, abs=0.01))
    assert accuracy_interval([100.0], [25]) == (pytest.approx(86.68, abs=0.01), pytest.approx(100.0))
    assert widest_margin(25) == pytest.approx(18.2, abs=0.1)


def test_the_interval_of_a_mean_contains_the_truth_in_95_of_100_samples() -> None:
    true, images = np.array([0.6, 0.9, 0.97]), [25, 100, 40]
    samples = np.random.default_rng(0).binomial(images, true, size=(4000, 3)) / images * 100
    intervals = [accuracy_interval(sample.tolist(), images) for sample in samples]
    assert np.mean([low <= 100 * true.mean() <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.015)
