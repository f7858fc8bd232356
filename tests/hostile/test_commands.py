"""Command lines: outputs that would overwrite something, terminals without UTF-8."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clone import content
from tests.imports import ROOT
from tests.report.run_folder import write_run
from tests.stages.experiment import invoke


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, a folder of the user, a model, a file and a link, all in one folder."""
    folder = tmp_path_factory.mktemp("world")
    write_run(folder / "run")
    shutil.copytree(ROOT / "data" / "mini" / "clip", folder / "model")
    shutil.copytree(ROOT / "presets", folder / "project")
    (folder / "a_file").write_text("not what you expect")
    (folder / "images").symlink_to(folder / "project")
    return folder


OUTPUTS = {
    "a_file": "already exists, and is a file",
    "a_file/x/y": "Not a directory. Use another path",
    "project": "already exists, and has other files",
    "images": "already exists, and is a link",
}
INPUTS = {"model/../model/new": "is in model, which is read", "project": "has other files"}


@pytest.mark.parametrize(
    ("words", "outputs"),
    [
        (["compare", "run"], OUTPUTS),
        (["merge", "model", "model", "--alpha", "0.5"], INPUTS),
        (["export", "model", "--to", "safetensors"], INPUTS),
    ],
)
def test_an_output_that_would_touch_something_is_refused(
    world: Path, words: list[str], outputs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    before = content(world)
    for out, expected in outputs.items():
        result = invoke(*words, "--out", out)
        assert result.exit_code == 1 and expected in " ".join(result.output.split())
    assert content(world) == before


def test_a_terminal_without_utf8_prints_everything(tmp_path: Path) -> None:
    rows = "method,step,trained_task,eval_task,top1\ngift,-1,pretrained,\u9ce5 \U0001f426,0.5\ngift,0,\u9ce5 \U0001f426,\u9ce5 \U0001f426,0.7\n"
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONUTF8", "LANG", "LC_ALL")}
    environment = inherited | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "stages", "metrics", "--per-task", str(tmp_path / "rows.csv")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"0.7" in done.stdout or b"70.0" in done.stdout
    refused = subprocess.run([*command[:3], "use", "\u9ce5"], cwd=ROOT, env=environment, capture_output=True)
    assert refused.returncode == 1 and b"unknown name" in refused.stderr and b"Traceback" not in refused.stderr
