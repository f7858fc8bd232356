"""Clones of the project with real git and real DVC, and a server that starts their stages quickly."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from gift_core.process_variables import FORK_SERVER
from tests.imports import ROOT, first_params, sequence_of, with_all_methods

RESULTS = ("dvc.lock", "reports/metrics.json")
TASKS = ("letters", "digits")  # of the small experiment
PROBE = "arrows"  # its only one
METHODS = ("finetune", "gift", "icarl", "gift_vocabulary")  # of which the first two run
NO_PART = ("tests/", "benchmarks/", "docs/decisions/")  # of the wheel
PRINTED = "printed.txt"  # beside the clone of the small experiment: what its `make repro` printed


class Clone:
    """A clone of the project in a folder of its own, with the environment that runs these tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        outside = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        self.environment = outside | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": "", "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1",
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org",
        }  # fmt: skip

    def run(self, *command: str, expect: int = 0, cwd: Path | None = None, **variables: str) -> str:
        """Runs a command with more variables in its environment, and returns what it printed."""
        environment = self.environment | variables
        done = subprocess.run(command, cwd=cwd or self.folder, env=environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert done.returncode == expect, f"{' '.join(command)} -> {done.returncode}\n{output[-6000:]}"
        return output

    def repro(self, *, expect: int = 0) -> list[str]:
        """Runs `dvc repro` with the fork server of these tests, and returns the stages whose commands ran."""
        socket, _ = fork_server(frozenset(self.environment.items()))
        self.printed = self.run("dvc", "repro", expect=expect, **{FORK_SERVER: socket})
        return stages_in(self.printed)

    def outputs(self) -> set[str]:
        files = [*(self.folder / "data").rglob("*"), *(self.folder / "reports").rglob("*")]
        names = {file.relative_to(self.folder).as_posix() for file in files if file.is_file()}
        return {name for name in names if not name.startswith(("data/0_raw", "data/mini"))}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces the only occurrence of `old` in a file."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file}: {text.count(old)} x {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def report(self) -> dict[str, object]:
        """Returns the report's entry in dvc.lock, and the bytes of its outputs."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]["report"]
        return {"dvc.lock": lock, **content(self.folder / "reports")}

    def undo(self) -> None:
        self.run("git", "checkout", "--quiet", "--", "params.yaml", "gift_core", "stages", "dvc.yaml")

    @property
    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def write_params(self, params: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def metrics(self) -> dict[str, dict[str, Any]]:
        return json.loads((self.folder / "reports" / "metrics.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def stages_in(printed: str) -> list[str]:
    return re.findall(r"Running stage '([^']+)'", printed)


@functools.cache
def fork_server(variables: frozenset[tuple[str, str]]) -> tuple[str, subprocess.Popen[str]]:
    """Returns the socket of a fork server for stages with these variables, and its process, which ends with this one.

    `make repro` starts one for each run. Here one is for all: most changes run no stage but check, and loading PyTorch
    for it takes longer than the rest.
    """
    command = [sys.executable, "-m", "stages.dvc.fork_server", "sh", "-c", f'echo "${FORK_SERVER}"; exec cat']
    server = subprocess.Popen(
        command, cwd=ROOT, env=dict(variables), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    return server.stdout.readline().strip(), server


def copy_of_repository(folder: Path, *, left_out: tuple[str, ...] = ()) -> Path:
    """Copies what git has, or would add, to `folder`, with the first params.yaml and without results and data.

    So no test depends on the experiment of whoever works here. `left_out`: beginnings of other paths.
    """
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file() and not name.startswith((*RESULTS, *left_out)) and not name.endswith(".dvc"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(first_params(), encoding="utf-8")
    return folder


def build_wheel(folder: Path) -> Path:
    """Builds the wheel from a copy of the repository in `folder`, without a network."""
    source, wheels = copy_of_repository(folder / "source", left_out=NO_PART), folder / "wheels"
    for stale in (source / "build" / "lib" / "stages", wheels):  # the first as a build by an older version left it
        stale.mkdir(parents=True)
    (source / "build" / "lib" / "stages" / "__init__.py").touch()
    script = f"from setuptools import build_meta; build_meta.build_wheel({str(wheels)!r})"
    Clone(source).run(sys.executable, "-c", script)
    (wheel,) = wheels.iterdir()
    return wheel


def new_project(folder: Path, *, message: str = "the project") -> Clone:
    """Returns the working tree of this project, without results, as a git repository of its own."""
    copy_of_repository(folder)
    project = Clone(folder)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    commit(project, message)
    return project


def small(params: dict[str, Any], *tasks: str) -> dict[str, Any]:
    """Returns params.yaml with these tasks, few images and iterations, and few methods: DVC reads it for each stage."""
    tasks = tasks or TASKS
    row = {"source": "mini", "path": "data/mini", "train_images": 40, "test_images": 40}
    rows = with_all_methods(params)["methods"]
    params["methods"] = {name: rows[name] for name in METHODS}
    params["tasks"] = {task: dict(row) for task in (*tasks, PROBE)}
    params["evaluation"]["probes"] = [PROBE]
    params["sequence"] = sequence_of(tasks)
    params["training"] |= {"iterations": 4, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
    params["prompts"] |= {"images_per_task": 16}
    params["generator"] |= {"images_per_shard": 8, "steps": 2, "batch_size": 8}
    return params


def finished_experiment(folder: Path) -> None:
    """Runs the small experiment in a clone of the project, folder/gift, and commits the result."""
    project = new_project(folder / "gift")
    project.write_params(small(project.params))
    printed = project.run(sys.executable, "-m", "stages.dvc.fork_server", "dvc", "repro")  # as `make repro` does
    (folder / PRINTED).write_text(printed, encoding="utf-8")
    commit(project, "the first result")


def copy_of(folder: Path, to: Path) -> Clone:
    shutil.copytree(folder, to, symlinks=True)
    return Clone(to)


def clone_of(project: Clone, folder: Path) -> Clone:
    project.run("git", "clone", "--quiet", str(project.folder), str(folder))
    return Clone(folder)


def commit(project: Clone, message: str) -> None:
    """Commits everything that git does not ignore."""
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", message)


def content(folder: Path) -> dict[str, bytes]:
    """Returns {relative path: bytes} of all files below the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_program(path: Path, script: str) -> None:
    """Writes a shell script that can be called."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def edit_function(root: Path, file: str, name: str) -> None:
    """Adds a statement to the function or the method "Class.method" in a file. It computes the same."""
    path = root / file
    text = path.read_text(encoding="utf-8")
    node: Any = ast.parse(text)
    for part in name.split("."):
        node = next(each for each in node.body if getattr(each, "name", None) == part)
    first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
    lines = text.splitlines(keepends=True)
    at = min([first.lineno, *(each.lineno for each in getattr(first, "decorator_list", []))]) - 1
    lines.insert(at, f"{' ' * first.col_offset}_edited = 0\n")
    path.write_text("".join(lines), encoding="utf-8")
