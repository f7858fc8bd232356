"""The checks on a GPU leave no test out, and need no DVC."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from benchmarks.gpu import checks
from benchmarks.gpu.pieces import PIECES
from tests.clone import Clone

BENCHMARKS = [f"benchmarks.{file.stem}" for file in sorted(Path(checks.__file__).parents[1].glob("*.py"))]


def paths_of_the_pieces() -> list[str]:
    return [part for piece in PIECES for part in piece.full if part.startswith("tests/")]


def test_every_file_with_a_test_for_a_gpu_is_in_a_piece(project: Path) -> None:
    takes_a_device = re.compile(r"def (?!_)\w+\([^)]*\b(device|gpu): torch\.device[,)\n]|mark\.gpu\n")
    paths = [project / path for path in paths_of_the_pieces()]
    files = [file for file in (project / "tests").rglob("test_*.py") if takes_a_device.search(file.read_text("utf-8"))]
    assert len(files) > 8
    assert [file for file in files if not any(file.is_relative_to(path) for path in paths)] == []


def test_neither_the_tests_for_a_gpu_nor_the_benchmarks_import_dvc(project: Path) -> None:
    code = (
        "import sys, importlib, pytest\n"
        "sys.modules |= dict.fromkeys(['dvc', 'dvc_data', 'dvc_objects'])\n"
        f"for name in {BENCHMARKS}: importlib.import_module(name)\n"
        f"sys.exit(pytest.main(['--collect-only', '-qq', '-m', 'gpu', *{paths_of_the_pieces()}]))\n"
    )
    Clone(project).run(sys.executable, "-c", code)
