"""A stage that writes something else at the same version is found by running it."""

from __future__ import annotations

from pathlib import Path

from gift_core.code.versions import TABLE
from recipes.versions.compare import forgotten
from recipes.versions.experiments import EXPERIMENTS
from tests.clone import edit_function, new_project
from tests.imports import ROOT

LOSSES = "gift_core/method/losses.py"


def test_no_version_was_forgotten_since_the_table_changed() -> None:
    assert forgotten(ROOT, EXPERIMENTS) == []


def test_a_forgotten_version_is_found_by_name_and_neither_a_raised_one_nor_a_harmless_edit(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    experiment = {"small": {"run": {"methods": ["gift"]}, "sequence": ["letters"]}}
    edit_function(project.folder, LOSSES, "align")
    assert forgotten(project.folder, experiment) == []
    project.edit(LOSSES, "(student_MM.T, targets_MM", "(2 * student_MM.T, targets_MM")
    (found,) = forgotten(project.folder, experiment)
    output = "data/5_models/gift/letters"
    assert found == f"{output}: finetune writes other bytes at the same version: raise its version in {TABLE}."
    project.edit(TABLE, "evaluate:\n", "  9: the alignment weighs texts twice\nevaluate:\n")
    assert forgotten(project.folder, experiment) == []
