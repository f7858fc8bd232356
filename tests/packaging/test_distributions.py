"""What the wheel has."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from gift_core.layout import EXAMPLES, FILES, IN_WHEEL, guides, shipped_files
from tests.clone import build_wheel
from tests.imports import ROOT

FILES_FOLDER = f"gift_core/{IN_WHEEL}/"
LARGEST = 16e6  # bytes of the wheel; 12.8 MB are the miniature models


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def names(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_has_every_file_of_the_library_and_the_commands_and_no_others(wheel: Path) -> None:
    files = (path for path in (ROOT / "gift_core").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    library = {path.relative_to(ROOT).as_posix() for path in files}
    commands = {f"gift_core/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "stages").rglob("*.py")}
    assert {name for name in names(wheel) if not name.startswith(FILES_FOLDER)} == library | commands
    entry_points = zipfile.ZipFile(wheel).read("gift_pipeline-0.1.0.dist-info/entry_points.txt").decode()
    assert "gift = gift_core.stages.__main__:main" in entry_points
    assert wheel.stat().st_size < LARGEST


def test_the_wheel_has_the_files_of_a_project_the_guides_and_the_examples_as_they_are_here(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    found = {name.removeprefix(FILES_FOLDER) for name in names(wheel) if name.startswith(FILES_FOLDER)}
    examples = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(EXAMPLES)}
    assert found == {*shipped_files(), *examples, *(f"docs/{name}.md" for name in guides())}
    assert all(any(name == each or name.startswith(f"{each}/") for name in found) for each in FILES)
    for name in found:
        assert archive.read(FILES_FOLDER + name) == (ROOT / name).read_bytes(), name
