"""The files of reports/: the CSV files are tidy, and DVC plots them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from gift_core.layout import Layout
from gift_core.report.build import build_report
from tests.report.run_folder import ROOT, TASKS, write_run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    config = write_run(folder)
    build_report(Layout(folder), config, folder / "reports")
    return folder


def test_the_plot_files_are_tidy_and_in_percent(project: Path) -> None:
    accuracy = pd.read_csv(project / "reports/plots/accuracy.csv")
    assert len(accuracy) == 2 * 4 * 3
    cell = accuracy[(accuracy.method == "gift") & (accuracy.after == "textures") & (accuracy.task == "letters")].iloc[0]
    assert (cell.after_step, cell.task_step, cell.phase, cell.accuracy) == (2, 0, "past", 78.0)
    losses = pd.read_csv(project / "reports/plots/losses.csv")
    assert len(losses) == (2 + 3) * len(TASKS) * 20
    first = losses[(losses.method == "gift") & (losses.loss == "distill")].iloc[0]
    assert (first.sequence_step, first.value) == (
        0.025,
        pytest.approx(0.005),
    )  # steps 0 and 1 of 30: mean of 0 and 0.01


def test_dvc_plots_every_plot_of_dvc_yaml(project: Path) -> None:
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    (project / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}), encoding="utf-8")
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=project, check=True)
    shutil.copytree(ROOT / ".dvc" / "plots", project / ".dvc" / "plots")
    show = [sys.executable, "-m", "dvc", "plots", "show", "--json"]
    shown = json.loads(subprocess.run(show, cwd=project, check=True, capture_output=True, text=True).stdout)
    assert "errors" not in shown
    assert set(shown["data"]) == {name for plot in plots for name in plot}
    for name, [plot] in shown["data"].items():
        content: dict[str, Any] = json.loads(plot["content"]) if isinstance(plot["content"], str) else plot["content"]
        assert content["data"]["values"], name
        assert "<DVC_METRIC" not in json.dumps(content), name
