"""One toy project that has run, copied for each test that needs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clone import Clone
from tests.team.toy import toy, toy_clone, use_store


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project `first` and the remote `store`."""
    folder = tmp_path_factory.mktemp("toy")
    toy(folder / "first")
    return folder


@pytest.fixture
def first(toy_template: Path, tmp_path: Path) -> Clone:
    """A copy of the project with all its data, and of its remote in tmp_path/store."""
    shutil.copytree(toy_template, tmp_path, symlinks=True, dirs_exist_ok=True)
    project = toy_clone(tmp_path / "first")
    use_store(project, tmp_path / "store")
    return project
