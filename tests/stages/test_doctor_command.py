"""The command `gift doctor`: its lines, exit codes and JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stages.__main__ import app
from tests.doctor.projects import link_models, make_project
from tests.imports import ROOT

RUNNER = CliRunner()


def doctor(root: Path, *words: str) -> Result:
    return RUNNER.invoke(app, ["doctor", *words, "--root", str(root)])


def test_the_quick_check_prints_nothing_without_problems(tmp_path: Path) -> None:
    link_models(tmp_path)
    make_project(tmp_path)
    result = doctor(tmp_path, "--quick")
    assert (result.exit_code, result.output) == (0, "")


def test_missing_data_sets_are_a_line_each_and_exit_code_1(tmp_path: Path) -> None:
    make_project(tmp_path, "mtil_order_1")
    result = doctor(tmp_path, "--quick")
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert len(lines) == 11
    assert lines[3] == f"fail  data dtd: there is no {tmp_path / 'data/0_raw/dtd'}. " + (
        "Run: gift data fetch dtd. It says what to download by hand, if anything."
    )


def test_json_is_a_list_of_findings(tmp_path: Path) -> None:
    make_project(tmp_path, "bring_your_own")
    result = doctor(tmp_path, "--quick", "--json")
    rows = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(row["subject"], row["mark"]) for row in rows] == [("params.yaml", "ok"), ("data my_task", "fail")]
    assert set(rows[0]) == {"subject", "mark", "found", "remedy"}


def test_an_invalid_params_yaml_is_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("experiment: [", encoding="utf-8")
    result = doctor(tmp_path, "--quick")
    assert (result.exit_code, result.stdout.startswith("fail  params.yaml: ")) == (1, True)
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("module", ["torch", "open_clip", "diffusers", "huggingface_hub", "dvc", "pandas"])
def test_the_quick_check_imports_nothing_slow(module: str) -> None:
    check = (
        "import sys, pathlib\n"
        "from gift_core.doctor.examine import examine_quickly\n"
        "assert all(finding.mark == 'ok' for finding in examine_quickly(pathlib.Path()))\n"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


def test_make_repro_checks_before_it_runs() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nrepro:")[1].split("\n\n")[0]
    assert recipe.index("gift doctor --quick") < recipe.index("dvc repro")
