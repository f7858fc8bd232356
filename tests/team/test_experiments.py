"""`gift exp` shows what real `dvc exp run` and `dvc exp show` know."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from gift_core.team.experiments import differences
from tests.clone import Clone
from tests.imports import ROOT
from tests.team.toy import gift, toy_clone


@pytest.fixture(scope="module")
def project(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """One experiment that ran, one in the queue."""
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


def test_dvc_exp_show_has_the_columns_that_differ(project: Clone) -> None:
    """With the command of docs/team_tools.md. Without options DVC shows a column for each value of params.yaml."""
    page = (ROOT / "docs" / "team_tools.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^dvc exp show .*$", page, flags=re.MULTILINE)
    shown = project.run("bash", "-c", f"{command} --no-pager --csv")
    (header,) = [line for line in shown.splitlines() if line.startswith("Experiment,")]
    hidden = {"rev", "typ", "parent", "State", "Executor"}  # in a table these are in the column Experiment, or empty
    columns = [name for name in header.split(",") if name not in hidden]
    assert columns == ["Experiment", "Created", "finetune.last", "training.iterations"]


def test_an_unknown_method_and_a_folder_without_dvc_are_refused(project: Clone, tmp_path: Path) -> None:
    refused = gift("exp", "--root", project.folder, "--method", "gitf", expect=1)
    assert "--method: unknown name 'gitf'" in refused.output
    assert "dvc exp show: you are not inside of a DVC repository" in gift("exp", "--root", tmp_path, expect=1).output


def test_differences_name_the_key_and_only_what_changed() -> None:
    before = {"a": {"b": 1, "c": None}, "old": 1, "list": ["x", "y"], "sequence": [{"task": "birds", "rate": 1.0}]}
    after = {"a": {"b": 2, "c": 5}, "list": ["y", "z", "w"], "sequence": [{"task": "birds", "rate": 0.5}]}
    assert list(differences(before, {**after, "new": {"d": 1}})) == [
        "a.b: 1 -> 2", "a.c: empty -> 5", "old: removed", "list.0: x -> y", "list.1: y -> z", "list.2: new (w)",
        "sequence.0.rate: 1.0 -> 0.5", "new: new",
    ]  # fmt: skip
