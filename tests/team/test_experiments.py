"""`gift exp` shows what real `dvc exp run` and `dvc exp show` know."""

from __future__ import annotations

import difflib
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gift_core.team.experiments import differences
from stages.app import app
from tests.clone import Clone
from tests.imports import ROOT
from tests.team.toy import toy_clone


def gift_exp(project: Clone, *, columns: int) -> list[str]:
    """Returns the lines after the title, in a terminal of this width."""
    done = CliRunner().invoke(app, ["exp", "--root", str(project.folder)], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0, done.output
    return done.output.splitlines()[1:]


@pytest.fixture(scope="module")
def project(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """One experiment that ran, one in the queue."""
    folder = tmp_path_factory.mktemp("exp") / "project"
    shutil.copytree(toy_template / "first", folder, symlinks=True)
    project = toy_clone(folder)
    before = (project.folder / "params.yaml").read_text(encoding="utf-8").splitlines()
    project.run("dvc", "exp", "run", "--name", "longer", "--set-param", "training.iterations=20")
    after = (project.folder / "params.yaml").read_text(encoding="utf-8").splitlines()
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert changed == ["-   iterations: 10", "+   iterations: 20"]
    project.run("dvc", "exp", "run", "--queue", "--name", "both", "--set-param", "run.methods=[finetune,gift]")
    return project


def test_an_experiment_has_lines_for_what_differs_and_for_the_numbers_of_each_method(project: Clone) -> None:
    assert gift_exp(project, columns=80) == [
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


def test_a_narrow_terminal_breaks_no_name(project: Clone) -> None:
    lines = gift_exp(project, columns=20)
    assert lines[2:4] == ["  training.iterations:", "      10 -> 20"]


def test_dvc_exp_show_has_the_columns_that_differ(project: Clone) -> None:
    """With the command of docs/team_tools.md. Without options DVC shows a column for each value of params.yaml."""
    page = (ROOT / "docs" / "team_tools.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^dvc exp show .*$", page, flags=re.MULTILINE)
    shown = project.run("bash", "-c", f"{command} --no-pager --csv")
    (header,) = [line for line in shown.splitlines() if line.startswith("Experiment,")]
    hidden = {"rev", "typ", "parent", "State", "Executor"}  # in a table these are in the column Experiment, or empty
    columns = [name for name in header.split(",") if name not in hidden]
    assert columns == ["Experiment", "Created", "finetune.last", "training.iterations"]
    whole = project.run("dvc", "exp", "show", "--no-pager", "--csv")
    assert len(next(line for line in whole.splitlines() if line.startswith("Experiment,")).split(",")) > 20


def test_an_unknown_method_is_refused(project: Clone) -> None:
    done = CliRunner().invoke(app, ["exp", "--root", str(project.folder), "--method", "gitf"])
    assert done.exit_code == 1
    assert "--method: unknown name 'gitf'" in done.output


def test_a_folder_that_dvc_does_not_know_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["exp", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "dvc exp show: you are not inside of a DVC repository" in done.output


def test_differences_name_the_key_and_only_what_changed() -> None:
    before = {"a": {"b": 1, "c": None}, "old": 1, "list": ["x", "y"], "sequence": [{"task": "birds", "rate": 1.0}]}
    after = {
        "a": {"b": 2, "c": 5},
        "list": ["y", "z", "w"],
        "sequence": [{"task": "birds", "rate": 0.5}],
        "new": {"d": 1},
    }
    assert list(differences(before, after)) == [
        "a.b: 1 -> 2", "a.c: empty -> 5", "old: removed", "list.0: x -> y", "list.1: y -> z", "list.2: new (w)",
        "sequence.0.rate: 1.0 -> 0.5", "new: new",
    ]  # fmt: skip
