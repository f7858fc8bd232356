"""What the protocols share: no helper or interruption changes a number, and a limit chooses the same images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from gift_core.artifacts.task import iterate_task
from gift_core.clip.test_set import ImageLimit, choose_images
from gift_core.computation import in_turn
from gift_core.method.evaluation import PROTOCOLS, Measurement
from gift_core.seeds import seed_for
from tests.execution.pretended_helper import run_with_helper
from tests.method.evaluation.sequence import TASKS, inputs_of

Folders = dict[str, Path]


def require_same(found: Measurement, expected: Measurement) -> None:
    pd.testing.assert_frame_equal(found.rows, expected.rows, check_exact=True)
    pd.testing.assert_frame_equal(found.predictions, expected.predictions)
    assert found.metadata == expected.metadata


UNITS = {"task_incremental": 6, "class_incremental": 6, "cross_domain": 12}  # of a whole run


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_helper_changes_neither_accuracies_nor_predictions(
    models: Folders, tasks: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    alone = PROTOCOLS[protocol](inputs_of(models, tasks, 2), in_turn)
    run, helper = run_with_helper(tmp_path / "work", monkeypatch)
    (kept := tmp_path / "kept").mkdir()
    require_same(PROTOCOLS[protocol](inputs_of(models, tasks, 2), replace(run, kept=kept)), alone)
    assert len(helper.helped) == UNITS[protocol] // 2
    assert len(list(kept.iterdir())) == (UNITS[protocol] if protocol != "task_incremental" else 0)


LIMIT = ImageLimit(max_images=4, seed=7)  # letters has 4 test images, digits 5, faces 6


def chosen_images(tasks: Folders) -> set[tuple[str, int]]:
    """(task, position) of the images that the limit leaves."""
    found = set()
    for name in TASKS:
        labels = [label for _, label in iterate_task(tasks[name], "test")]
        found |= {(name, at) for at in choose_images(labels, 4, seed=seed_for("test images", 7, name))}
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_accuracies_and_predictions_are_those_of_the_chosen_images(
    models: Folders, tasks: Folders, tmp_path: Path, protocol: str
) -> None:
    whole = PROTOCOLS[protocol](inputs_of(models, tasks, 2), in_turn)
    made = PROTOCOLS[protocol](inputs_of(models, tasks, 2, limit=LIMIT), in_turn)
    chosen = chosen_images(tasks)
    kept = [each in chosen for each in zip(whole.predictions.task, whole.predictions.image, strict=True)]
    expected = whole.predictions[kept].reset_index(drop=True)
    pd.testing.assert_frame_equal(made.predictions, expected)
    assert len(expected) < len(whole.predictions)
    for row in made.rows.itertuples():
        of_row = expected[expected.step == row.step]
        if protocol != "class_incremental":
            of_row = of_row[of_row.task == row.eval_task]
        assert row.n == len(of_row) == (12 if protocol == "class_incremental" else 4)
        assert row.top1 == pytest.approx((of_row.label == of_row.predicted).mean())
    assert made.metadata == {**whole.metadata, "max_images": "4"}
