"""Shades of accuracy matrices, references in the result table, and the 95% intervals of accuracies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gift_core.report.accuracies import accuracy_interval, widest_margin
from gift_core.report.accuracy_tables import reference_rows, result_rows, shade_of, tooltip
from gift_core.report.curves import mean_chart
from gift_core.report.highlight import baseline_method, best_method
from tests.report.run_folder import MATRICES, record_of

SEPARATE = [[40, 60, 50], [90, 40, 30], [30, 95, 30], [20, 30, 99]]
JOINT = [[40, 60, 50], [90, 60, 50], [90, 95, 50], [90, 95, 98]]


def test_shades_depend_on_sign_and_size_of_the_difference() -> None:
    shades = [shade_of(difference) for difference in (0.9, -0.9, 1, -4.9, 5, -12, 34.9, 35, -80)]
    assert shades == ["same", "same", "gain1", "loss1", "gain2", "loss3", "gain4", "gain5", "loss5"]


def test_a_tooltip_has_the_accuracy_and_the_signed_difference_to_zero_shot() -> None:
    assert tooltip("letters after zodiac", 62.0, 60.0) == "letters after zodiac\t62.0\nto zero-shot\t+2.0"


def test_upper_references_are_never_best_or_baseline(tmp_path: Path) -> None:
    record = record_of(tmp_path, matrices={"individual": SEPARATE, "joint": JOINT, **MATRICES})
    assert (best_method(record), baseline_method(record)) == ("gift", "finetune")
    assert [row.name for row in reference_rows(record)] == ["Individual", "Joint"]
    marked = [cell.text for row in result_rows(record) for cell in row.cells if cell.best]
    assert marked == ["90.0", "53.0", "71.1", "80.0", "4.0"]
    # of separate models only Own task means something
    assert [cell.text for cell in reference_rows(record)[0].cells] == ["–", "–", "–", "–", "94.7"]
    assert "individual" not in {line.method for line in mean_chart(record).lines}


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
