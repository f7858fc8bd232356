"""`gift exp` shows what real `dvc exp run` and `dvc exp show` know; `gift dag` the graph of stage types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.clone import Clone
from tests.imports import ROOT
from tests.team.toy import gift, toy_clone
from tests.test_architecture import DVC


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


def test_every_stage_type_has_an_edge_to_a_later_one_and_no_edge_is_a_shortcut() -> None:
    blocks = list(DVC)
    edges = {tuple(edge) for edge in json.loads(gift("dag", "--root", ROOT, "--json").stdout)["edges"]}
    assert all(blocks.index(above) < blocks.index(below) for above, below in edges)
    assert {("synthesize", "teach"), ("teach", "finetune"), ("finetune", "evaluate")} <= edges
    assert ("ingest", "finetune") not in edges  # finetune reads the task, but teach comes between
    assert '  finetune["finetune x 8"]' in gift("dag", "--root", ROOT, "--mermaid").stdout.splitlines()
