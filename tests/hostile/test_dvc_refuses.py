"""The real `dvc repro` on hostile params: `check` refuses, no other command runs, and no file disappears."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clone import Clone, new_project, stages_in

RESULTS = ("1_tasks", "5_models/gift", "3_shards")
KEPT = (*(f"project/data/{name}/digits/kept" for name in RESULTS), "project/kept", "kept", "precious/kept")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project with files where its results would be and around it."""
    project = new_project(tmp_path_factory.mktemp("home") / "project")
    for name in KEPT:
        file = project.folder.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("kept")
    return project


@pytest.mark.parametrize("name", ["a; touch pwned ;", "../../.."])
def test_hostile_names_of_the_first_task_run_nothing_and_remove_nothing(project: Clone, name: str) -> None:
    project.run("git", "checkout", "--quiet", "params.yaml")
    params = project.params
    first = params["sequence"][0]["task"]
    params["tasks"] = {name if task == first else task: row for task, row in params["tasks"].items()}
    params["sequence"][0]["task"] = params["sequence"][1]["after"] = name
    project.write_params(params)
    printed = project.run("dvc", "repro", expect=255)
    assert set(stages_in(printed)) <= {"check"}, printed
    assert re.search("error: params.yaml: |ERROR: ", printed), printed  # DVC itself refuses outputs that overlap
    assert all((project.folder.parent / name).read_text() == "kept" for name in KEPT)
    assert not list(Path(project.folder.parent).rglob("pwned"))
