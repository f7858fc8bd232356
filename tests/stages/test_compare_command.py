"""`gift compare`: its output, its files and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stages.app import app
from tests.report.run_folder import MATRICES, write_run

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two seeds of one experiment; in the second every method is two points worse."""
    folder = tmp_path_factory.mktemp("seeds")
    for seed, points in ((1, 0), (2, 2)):
        worse = {name: [[value - points for value in row] for row in matrix] for name, matrix in MATRICES.items()}
        write_run(folder / str(seed), matrices=worse, seed=seed)
    return [str(folder / "1"), str(folder / "2")]


def test_compare_prints_the_table_and_writes_its_three_files(roots: list[str], tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["compare", *roots, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "79.0±1.4" in result.output and "Own task" in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines() if "±" in line)
    assert "index.html" in result.output.replace("\n", "")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "comparison.csv", "comparison.json", "index.html",
    ]  # fmt: skip


def test_runs_with_the_same_seed_are_refused_without_a_traceback(roots: list[str], tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["compare", roots[0], roots[0], "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "have the same seed, 1" in result.output.replace("\n", " ")
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()
