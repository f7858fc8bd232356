"""`gift show` and the stage report: for a published benchmark, the zero-shot check comes first."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stages.__main__ import app
from tests.report.run_folder import ZERO_SHOT_AGREES, write_mtil, write_run

RUNNER = CliRunner()


def report(root: Path) -> str:
    result = RUNNER.invoke(app, ["report", "--params", str(root / "params.yaml"), "--root", str(root)])
    assert result.exit_code == 0, result.output
    return result.output


def show(root: Path, *options: str) -> list[str]:
    result = RUNNER.invoke(app, ["show", "--root", str(root), *options])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_for_mtil_the_first_line_says_that_zero_shot_agrees(tmp_path: Path) -> None:
    write_mtil(tmp_path)
    assert f"report: {ZERO_SHOT_AGREES}" in report(tmp_path)
    assert show(tmp_path)[0].startswith(ZERO_SHOT_AGREES)
    assert show(tmp_path, "--json")[0] == "{"


def test_for_another_run_the_table_comes_first(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert "Zero-shot" not in report(tmp_path)
    assert show(tmp_path)[0] == "Accuracy in percent (Forgetting: lower is better)"


@pytest.mark.parametrize("damage", ["missing", "no verdict"])
def test_a_missing_zero_shot_check_is_skipped_and_a_damaged_one_is_refused(tmp_path: Path, damage: str) -> None:
    write_run(tmp_path)
    report(tmp_path)
    check = tmp_path / "reports" / "zero_shot.json"
    if damage == "missing":
        check.unlink()
        assert show(tmp_path)[0].startswith("Accuracy in percent")
        return
    check.write_text("{}")
    result = RUNNER.invoke(app, ["show", "--root", str(tmp_path)])
    assert result.exit_code == 1 and "zero_shot.json" in result.output


def test_times_are_summed_over_the_instances_of_a_stage_the_longest_first(tmp_path: Path) -> None:
    assert show(tmp_path, "--times") == [
        "No stage ran on this machine. The results came from the cache or from a remote."
    ]
    for stage, name, seconds in (("finetune", "a", 8), ("synthesize", "a", 65.5), ("synthesize", "b", 61)):
        note = tmp_path / ".gift" / "timings" / stage / f"{name}.json"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f'{{"seconds": {seconds}}}')
    lines = [line.split() for line in show(tmp_path, "--times")]
    assert lines == [["synthesize", "2", "instances", "2", "min", "6", "s"], ["finetune", "1", "instance", "8.0", "s"]]
