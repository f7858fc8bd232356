"""Accuracies and predictions of methods and tasks that were taken back are moved, and nothing else is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gift_core.artifacts.accuracy import write_empty_accuracy
from gift_core.layout import Layout
from stages.app import app
from tests.report.run_folder import MATRICES, TASKS, write_run


def run(root: Path, stage: str, params: Path) -> str:
    result = CliRunner().invoke(app, [stage, "--params", str(params), "--root", str(root)])
    assert result.exit_code == 0, result.output
    return result.output


def run_until_it_reads(root: Path, stage: str) -> str:
    """The output of the stage, which may refuse what it reads after it moved the leftovers."""
    return CliRunner().invoke(app, [stage, "--params", str(root / "params.yaml"), "--root", str(root)]).output


def files(root: Path) -> set[str]:
    folder = Layout(root).pretrained_accuracy().parent
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run of finetune and gift whose accuracy folder has the files of others: a method, a task, and notes."""
    write_run(tmp_path, matrices={"icarl": MATRICES["gift"], **MATRICES})
    write_run(tmp_path / "again", matrices=MATRICES)
    shutil.copy(tmp_path / "again" / "params.yaml", tmp_path)
    layout = Layout(tmp_path)
    shutil.copy(layout.accuracy("gift", "letters"), layout.accuracy("gift", "faces"))
    write_empty_accuracy(layout.pretrained_accuracy(), {})
    for name in ("notes.txt", "gift/notes.txt", "theirs/deeper/a.parquet", "theirs.parquet"):
        file = layout.pretrained_accuracy().parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    return tmp_path


OWN = {f"{method}/{task}.parquet" for method in MATRICES for task in TASKS} | {"pretrained.parquet"}
NOT_OURS = {"notes.txt", "gift/notes.txt", "theirs/deeper/a.parquet", "theirs.parquet"}
LEFT = {f"icarl/{task}.parquet" for task in TASKS} | {"gift/faces.parquet"}


@pytest.mark.parametrize("stage", ["check", "report"])
def test_leftovers_are_moved_and_named(root: Path, stage: str) -> None:
    assert files(root) == OWN | NOT_OURS | LEFT
    kept = {name: (root / "data/6_accuracy" / name).read_bytes() for name in LEFT}
    output = run(root, stage, root / "params.yaml")
    assert "gift/faces, icarl/letters, icarl/textures, icarl/zodiac" in output
    assert files(root) == OWN | NOT_OURS
    assert {name: (root / ".gift/taken_back" / name).read_bytes() for name in LEFT} == kept
    assert not Layout(root).accuracy("icarl", "letters").parent.exists()
    assert "no part of the experiment" not in run(root, stage, root / "params.yaml")


@pytest.mark.parametrize("stage", ["check", "report"])
def test_predictions_are_moved_with_their_accuracies(root: Path, stage: str) -> None:
    layout, moved = Layout(root), [("icarl", "letters"), ("gift", "faces")]
    for method, task in [*moved, ("gift", "letters")]:
        layout.predictions(method, task).parent.mkdir(parents=True, exist_ok=True)
        layout.predictions(method, task).write_bytes(f"{method} {task}".encode())
    (root / "data/6_predictions/notes.txt").write_text("mine")
    assert run_until_it_reads(root, stage).count("gift/faces") == 1
    kept = sorted(file for file in (root / "data/6_predictions").rglob("*") if file.is_file())
    assert kept == [layout.predictions("gift", "letters"), root / "data/6_predictions/notes.txt"]
    for method, task in moved:
        assert layout.taken_back_predictions(method, task).read_bytes() == f"{method} {task}".encode()


@pytest.mark.parametrize("stage", ["check", "report"])
def test_another_params_file_moves_nothing(root: Path, tmp_path: Path, stage: str) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["run"]["methods"] = ["gift"]
    other = tmp_path / "small.yaml"
    other.write_text(yaml.safe_dump(params), encoding="utf-8")
    run(root, stage, other)
    assert files(root) == OWN | NOT_OURS | LEFT


def test_bad_params_move_nothing(root: Path) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["run"]["methods"] = ["gitf"]
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    result = CliRunner().invoke(app, ["check", "--params", str(root / "params.yaml"), "--root", str(root)])
    assert result.exit_code == 1
    assert files(root) == OWN | NOT_OURS | LEFT


def test_a_method_that_is_taken_back_a_second_time_is_moved_again(root: Path) -> None:
    run(root, "check", root / "params.yaml")
    layout = Layout(root)
    layout.accuracy("icarl", "letters").parent.mkdir()
    shutil.copy(layout.accuracy("gift", "letters"), layout.accuracy("icarl", "letters"))
    run(root, "check", root / "params.yaml")
    assert files(root) == OWN | NOT_OURS


def test_an_accuracy_folder_that_does_not_exist_is_fine(tmp_path: Path) -> None:
    write_run(tmp_path)
    shutil.rmtree(tmp_path / "data" / "6_accuracy")
    run(tmp_path, "check", tmp_path / "params.yaml")
