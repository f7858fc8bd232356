"""Shades of accuracy matrices, and references in the result table."""

from __future__ import annotations

from pathlib import Path

from gift_core.layout import Layout
from gift_core.report.accuracy_tables import reference_rows, result_rows, shade_of, tooltip
from gift_core.report.curves import mean_chart
from gift_core.report.highlight import baseline_method, best_method
from gift_core.report.run_record import read_run
from tests.report.run_folder import MATRICES, write_run

SEPARATE = [[40, 60, 50], [90, 40, 30], [30, 95, 30], [20, 30, 99]]
JOINT = [[40, 60, 50], [90, 60, 50], [90, 95, 50], [90, 95, 98]]


def test_shades_depend_on_sign_and_size_of_the_difference() -> None:
    shades = [shade_of(difference) for difference in (0.9, -0.9, 1, -4.9, 5, -12, 34.9, 35, -80)]
    assert shades == ["same", "same", "gain1", "loss1", "gain2", "loss3", "gain4", "gain5", "loss5"]


def test_a_tooltip_has_the_accuracy_and_the_signed_difference_to_zero_shot() -> None:
    assert tooltip("letters after zodiac", 62.0, 60.0) == "letters after zodiac\t62.0\nto zero-shot\t+2.0"
    assert tooltip("letters before training", 60.0, 60.0) == "letters before training\t60.0\nto zero-shot\t0.0"


def test_upper_references_are_never_best_or_baseline(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"individual": SEPARATE, "joint": JOINT, **MATRICES})
    record = read_run(Layout(tmp_path), config)
    assert (best_method(record), baseline_method(record)) == ("gift", "finetune")
    assert [row.name for row in reference_rows(record)] == ["Individual", "Joint"]
    marked = [cell.text for row in result_rows(record) for cell in row.cells if cell.best]
    assert marked == ["90.0", "53.0", "71.1", "80.0", "4.0"]


def test_with_separate_models_only_own_task_is_shown(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"individual": SEPARATE, **MATRICES})
    record = read_run(Layout(tmp_path), config)
    assert [cell.text for cell in reference_rows(record)[0].cells] == ["–", "–", "–", "–", "94.7"]
    assert "individual" not in {line.method for line in mean_chart(record).lines}
