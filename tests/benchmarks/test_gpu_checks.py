"""The checks on a GPU: pieces that fail, hang or were done before; what they need; and that no test is left out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from benchmarks.gpu import checks
from benchmarks.gpu.pieces import PIECES, Piece

BENCHMARKS = [f"benchmarks.{file.stem}" for file in sorted(Path(checks.__file__).parents[1].glob("*.py"))]


def toy(name: str, code: str) -> Piece:
    return Piece(name, "a toy", ("-c", code), ("-c", code))


TOYS = (
    toy("good", "open(r'{out}/table.csv', 'a').write('x')"),
    toy("bad", "import sys; print('the reason'); sys.exit(3)"),
    toy("endless", "import time; print('begun', flush=True); time.sleep(60)"),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(checks, "PIECES", TOYS)

    def main(*options: str) -> int:
        out = ("--out", str(tmp_path), "--device", "cpu", "--limit", "1.5")
        monkeypatch.setattr(sys, "argv", ["checks", *out, *options])
        return checks.main()

    return main


def test_each_piece_leaves_its_result_and_only_the_unfinished_ones_run_again(run: Any, tmp_path: Path) -> None:
    for _ in range(2):
        assert run() == 1
        results = {toy.name: json.loads((tmp_path / toy.name / "result.json").read_text()) for toy in TOYS}
        assert {name: result["exit_code"] for name, result in results.items()} == {"good": 0, "bad": 3, "endless": None}
        assert (tmp_path / "bad" / "output.txt").read_text() == "the reason\n"
        assert (tmp_path / "good" / "table.csv").read_text() == "x"  # once
    page = (tmp_path / "summary.md").read_text()
    assert "| bad | FAILED (exit code 3)" in page and "| endless | STOPPED at the limit of time" in page
    assert run("--pieces", "good") == 0  # a piece that is named runs again
    assert (tmp_path / "good" / "table.csv").read_text() == "xx"


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
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_packages_are_those_of_the_project_without_dvc(project: Path) -> None:
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("\ndependencies = [\n")[1].split("\n]\n")[0]
    needed = {Requirement(line).name for line in re.findall(r'^    "([^"]+)"', block, flags=re.MULTILINE)}
    assert set(checks.PACKAGES) == needed - {"dvc"} | {"pytest"}
