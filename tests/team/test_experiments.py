"""`gift exp` shows what real `dvc exp run` and `dvc exp show` know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clone import Clone
from tests.team.toy import gift, toy_clone


@pytest.fixture(scope="module")
def project(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("exp") / "project"
    shutil.copytree(toy_template / "first", folder, symlinks=True)
    project = toy_clone(folder)
    project.run("dvc", "exp", "run", "--name", "longer", "--set-param", "training.iterations=20")
    project.run("dvc", "exp", "run", "--queue", "--name", "both", "--set-param", "run.methods=[finetune,gift]")
    return project


def test_an_experiment_has_lines_for_what_differs_and_for_the_numbers_of_each_method(project: Clone) -> None:
    assert gift("exp", "--root", project.folder).output.splitlines()[1:] == [
        "               Transfer   Avg   Last   Forgetting",
        "workspace",
        "  training.iterations: 10 -> 20",
        "    finetune        1.0   2.0   20.0            -",
        "main",
        "    finetune        1.0   2.0   10.0            -",
        "longer",
        "  training.iterations: 10 -> 20",
        "    finetune        1.0   2.0   20.0            -",
        "both (queued)",
        "  run.methods.1: new (gift)",
        "  training.iterations: 10 -> 20",
        "    no metrics yet",
    ]


def test_an_unknown_method_and_a_folder_without_dvc_are_refused(project: Clone, tmp_path: Path) -> None:
    refused = gift("exp", "--root", project.folder, "--method", "gitf", expect=1)
    assert "--method: unknown name 'gitf'" in refused.output
    assert "dvc exp show: you are not inside of a DVC repository" in gift("exp", "--root", tmp_path, expect=1).output
