"""What the wheel has."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from gift_core.layout import FILES, IN_WHEEL, guides, shipped_files
from tests.clone import build_wheel
from tests.imports import ROOT

FILES_FOLDER = f"gift_core/{IN_WHEEL}/"
TEMPLATE = "gift_core/new_project/template/"
LARGEST = 16e6  # bytes of the wheel; 12.8 MB are the miniature models


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def names(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_has_every_module_and_command_and_no_other_files_than_the_code_reads(wheel: Path) -> None:
    library = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gift_core").rglob("*.py")}
    commands = {f"gift_core/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "stages").rglob("*.py")}
    assert {name for name in names(wheel) if name.endswith(".py")} == library | commands
    entry_points = zipfile.ZipFile(wheel).read("gift_pipeline-0.1.0.dist-info/entry_points.txt").decode()
    assert "gift = gift_core.stages.__main__:main" in entry_points
    rest = {name for name in names(wheel) if not name.endswith(".py") and not name.startswith((FILES_FOLDER, TEMPLATE))}
    kinds = {Path(name).suffix for name in rest}
    assert kinds <= {".yaml", ".csv", ".json", ".j2", ".css", ".js"}, kinds
    assert all(name.startswith("gift_core/") and (ROOT / name).is_file() for name in rest)
    tables = [*(ROOT / "gift_core/datasets/catalogue/rows").iterdir(), *(ROOT / "gift_core/published").glob("*.[cj]s*")]
    assert len(tables) > 12 and {path.relative_to(ROOT).as_posix() for path in tables} <= rest
    assert wheel.stat().st_size < LARGEST


def test_the_wheel_has_the_files_of_a_project_and_the_guides_as_they_are_in_the_repository(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    found = {name.removeprefix(FILES_FOLDER) for name in names(wheel) if name.startswith(FILES_FOLDER)}
    assert found == set(shipped_files()) | {f"docs/{name}.md" for name in guides()}
    assert all(any(name == each or name.startswith(f"{each}/") for name in found) for each in FILES)
    for name in found:
        assert archive.read(FILES_FOLDER + name) == (ROOT / name).read_bytes(), name
    template = {path.relative_to(ROOT).as_posix() for path in (ROOT / TEMPLATE).rglob("*") if path.is_file()}
    assert {name for name in names(wheel) if name.startswith(TEMPLATE)} == template
