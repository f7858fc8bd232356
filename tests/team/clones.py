"""Clones of the project with real git and real DVC, and a folder as the remote that they share."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.end_to_end.test_pipeline import Clone
from tests.imports import ROOT

RESULTS = ("dvc.lock", "reports/metrics.json")


def new_project(folder: Path, *, message: str = "the project") -> Clone:
    """Returns the working tree of this project, without results, as a git repository of its own."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file() and name not in RESULTS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Clone(folder)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    commit(project, message)
    return project


def clone_of(project: Clone, folder: Path) -> Clone:
    """Returns a second clone: `git clone`."""
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
