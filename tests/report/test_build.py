"""The files of reports/: the CSV files are tidy, and DVC plots them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from gift_core.layout import Layout
from tests.report.run_folder import ROOT, TASKS, build, write_pictures, write_run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    return build(folder, write_run(folder)).parent


def test_the_plot_files_are_tidy_and_in_percent(project: Path) -> None:
    accuracy = pd.read_csv(project / "reports/plots/accuracy.csv")
    assert len(accuracy) == 2 * 4 * 3
    cell = accuracy[(accuracy.method == "gift") & (accuracy.after == "textures") & (accuracy.task == "letters")].iloc[0]
    assert (cell.after_step, cell.task_step, cell.phase, cell.accuracy) == (2, 0, "past", 78.0)
    losses = pd.read_csv(project / "reports/plots/losses.csv")
    assert len(losses) == (1 + 4) * len(TASKS) * 20  # of finetune: task
    first = losses[(losses.method == "gift") & (losses.loss == "distill (KL)")].iloc[0]
    # steps 0 and 1 of 30: mean of 0 and 0.01
    assert (first.sequence_step, first.value) == (0.025, pytest.approx(0.005))


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


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("failing", ["write_metrics", "loss_rows", "render_page"])
def test_an_end_in_any_output_leaves_all_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    config = write_run(tmp_path)
    before = contents(build(tmp_path, config))
    assert len(before) == 6

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    changed = config.model_copy(update={"experiment": "another"})  # index.html and summary.json would differ
    path = Layout(tmp_path).model("gift", "zodiac") / "losses.jsonl"  # and losses.csv
    path.write_text(path.read_text().replace('"distill": 5.0', '"distill": 9.0'))
    monkeypatch.setattr(f"gift_core.report.build.{failing}", fail)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, changed)
    assert contents(tmp_path / "reports") == before
    monkeypatch.undo()
    after = contents(build(tmp_path, changed))
    assert {name for name in after if after[name] != before[name]} == {
        "index.html", "summary.json", "plots/losses.csv",
    }  # fmt: skip


def test_another_folder_locale_time_zone_and_number_of_threads_give_the_same_bytes(tmp_path: Path) -> None:
    surroundings = {
        "here": {"LC_ALL": "C.UTF-8", "TZ": "UTC", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        "another/folder": {"LC_ALL": "C", "TZ": "Pacific/Auckland", "OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "2"},
    }
    reports = []
    for name, variables in surroundings.items():
        root = tmp_path / name
        write_pictures(Layout(root), write_run(root))
        for seconds, stage in enumerate(("finetune", "evaluate"), start=len(name)):  # run times differ, too
            note = Layout(root).timings() / stage / "gift-letters.json"
            note.parent.mkdir(parents=True)
            note.write_text(json.dumps({"seconds": seconds}))
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
        command = [sys.executable, "-m", "stages", "report"]
        subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
        reports.append(contents(root / "reports"))
    assert reports[0] == reports[1]
