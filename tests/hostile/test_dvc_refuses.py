"""The real `dvc repro` on hostile params: `check` refuses, no other command runs, and no file disappears."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("gift_core", "stages", "dvc.yaml", "data/mini", "presets", ".dvcignore", ".gitignore")
KEPT = ("project/data/1_tasks/digits/kept", "project/data/5_models/gift/digits/kept", "project/data/3_shards/digits/kept",
        "project/kept", "kept", "precious/kept")  # fmt: skip
Params = dict[str, Any]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with git and DVC, with files where its results would be and around it."""
    folder = tmp_path_factory.mktemp("home") / "project"
    for name in COPIED:
        copy_of = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy_of(ROOT / name, folder / name)
    for name in ("models", "prompts", "generators", "reference"):
        (folder / "data" / "0_raw" / name).mkdir(parents=True)
    for name in KEPT:
        (folder.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.parent / name).write_text("kept")
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        assert run(folder, *command).returncode == 0
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


Change = Callable[[Params], None]


def rename_task(name: str) -> Change:
    def change(params: Params) -> None:
        first = params["sequence"][0]["task"]
        params["tasks"] = {name if task == first else task: row for task, row in params["tasks"].items()}
        params["sequence"][0]["task"] = params["sequence"][1]["after"] = name

    return change


def rename_method(name: str) -> Change:
    def change(params: Params) -> None:
        params["methods"][name] = params["methods"]["gift"]
        params["run"]["methods"] = [name]

    return change


def set_at(path: str, value: Any) -> Change:
    def change(params: Params) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        section: Any = params
        for part in parents:
            section = section[part]
        section[last] = value

    return change


OWN = {"source": "folder", "templates": ["a {}."], "test_fraction": 0.2, "on_bad_image": "skip"}
OFTEN = {
    "a command in a task's name": rename_task("a; touch pwned ;"),
    "a command as a rate factor": set_at("sequence.0.learning_rate_factor", "1; touch pwned"),
}
RARELY = {
    "a method of dots": rename_method("../../../precious"),
    "a line break in a task's name": rename_task("a\ntouch pwned\n"),
    "a task of dots": rename_task("../../.."),
    "a variable as a path": set_at("tasks.letters", {**OWN, "path": "data/0_raw/${seed}"}),
    "a path outside": set_at("tasks.letters", {**OWN, "path": "../precious"}),
    "the after of a step": set_at("sequence.1.after", "../../../precious"),
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        *(pytest.param(change, id=what) for what, change in OFTEN.items()),
        *(pytest.param(change, id=what, marks=pytest.mark.hostile) for what, change in RARELY.items()),
    ],
)
def test_hostile_params_run_nothing_and_remove_nothing(project: Path, change: Change) -> None:
    params = yaml.safe_load((project / "presets" / "mini.yaml").read_text(encoding="utf-8"))
    change(params)
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    done = run(project, "dvc", "repro")
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert set(re.findall(r"Running stage '([^']+)'", printed)) <= {"check"}, printed
    assert "error: params.yaml: " in printed or "ERROR: " in printed, printed  # DVC itself refuses outputs that overlap
    assert all((project.parent / name).read_text() == "kept" for name in KEPT)
    assert not list(project.parent.rglob("pwned"))
