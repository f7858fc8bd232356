"""Figures of a comparison: readable in the width of a column, and which curve over alpha lies above."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gift_core.report.comparison.alpha_curves import AlphaCurve, which_lies_above
from gift_core.report.comparison.compare import curve_sentences, write_comparison
from gift_core.report.comparison.figures import SMALLEST_TEXT, over_seeds
from gift_core.report.comparison.runs_by_seed import Comparison, read_runs
from tests.report import run_folder as runs
from tests.report.test_compare import SHIFTS, shifted

ALPHAS = np.array([0.0, 0.5, 1.0])
UPPER = AlphaCurve(ALPHAS, np.array([75.0, 70.0, 60.0]), np.array([50.0, 80.0, 84.0]), 0.5)
LOWER = AlphaCurve(ALPHAS, np.array([75.0, 68.0, 50.0]), np.array([50.0, 70.0, 72.0]), 1.0)
STEEP = AlphaCurve(ALPHAS, np.array([75.0, 74.0, 60.0]), np.array([50.0, 70.0, 76.0]), 1.0)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("seeds")
    for seed, points in SHIFTS.items():
        matrices = {method: shifted(matrix, points) for method, matrix in runs.MATRICES.items()}
        probes = {method: shifted(matrix, 2 * points) for method, matrix in runs.PROBES.items()}
        runs.write_run(root / str(seed), matrices=matrices, probes=probes, seed=seed)
    return read_runs([root / str(seed) for seed in SHIFTS])


def test_every_figure_is_as_wide_as_a_column_and_can_be_read(comparison: Comparison, tmp_path: Path) -> None:
    curves = {"gift": UPPER, "finetune": LOWER}
    write_comparison(replace(comparison, curves=curves), tmp_path / "out")
    files = sorted((tmp_path / "out" / "figures").glob("*.svg"))
    assert [file.stem for file in files] == [
        "forgetting", "learned_and_kept", "matrix_finetune", "matrix_gift", "mean_accuracy", "over_alpha",
        "transfer_and_last", "zero_shot_kept",
    ]  # fmt: skip
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == len(files)
    for file in files:
        svg = file.read_text(encoding="utf-8")
        assert re.search(r'<svg [^>]*width="234pt" [^>]*viewBox="0 0 234 ', svg), file  # 3.25 inches
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:bold )?([\d.]+)px", svg)]
        assert sizes and min(sizes) >= SMALLEST_TEXT, file
        assert "GIFT" in svg or "matrix" in file.stem
    assert "80.0" in (matrix := (tmp_path / "out" / "figures" / "matrix_gift.svg").read_text()) and "±1.0" in matrix
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text())["over_alpha"]
    assert stored["gift"] == {"alpha": [0, 0.5, 1], "last": [50, 80, 84], "kept": [75, 70, 60]}


def test_curves_are_means_with_the_deviation_over_the_seeds(comparison: Comparison) -> None:
    means, deviations = over_seeds(comparison, "gift", lambda run: run.matrices)
    assert means == pytest.approx(np.array(runs.MATRICES["gift"]))
    assert deviations == pytest.approx(np.array([[0, 0, 0], *[[1, 1, 1]] * 3]))
    kept, deviations = over_seeds(comparison, "gift", lambda run: run.probes)
    assert kept[-1] == pytest.approx([66, 82]) and deviations[-1] == pytest.approx([2, 2])


def test_a_sentence_says_which_curve_lies_above_and_where_they_cross(comparison: Comparison) -> None:
    assert which_lies_above("A", UPPER, "B", LOWER) == which_lies_above("B", LOWER, "A", UPPER)
    said = which_lies_above("A", UPPER, "B", LOWER)
    assert said.startswith("The curve of A lies above that of B from 60.0 to 75.0% zero-shot kept, by ")
    assert said.endswith(" points of Last on average.")
    crossing = re.fullmatch(
        r"The curves of A and B cross at ([\d.]+)% zero-shot kept: below, A lies above\.",
        which_lies_above("A", UPPER, "B", STEEP),
    )
    # between 70 and 74: A has 80 - 6 (k - 70), B 76 - (k - 60) 6/14
    assert crossing and float(crossing[1]) == pytest.approx((80 + 420 - 76 - 60 * 6 / 14) / (6 - 6 / 14), abs=0.1)
    assert "lie on each other" in which_lies_above("A", UPPER, "B", UPPER)
    told = curve_sentences(replace(comparison, curves={"gift": UPPER}))
    assert told == [
        "Learned against kept over alpha is not stored for Fine-tuning. The same command with --over-alpha tests them."
    ]
