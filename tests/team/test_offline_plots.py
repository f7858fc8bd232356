"""`dvc plots show` in a browser that reaches no server."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from tests.clone import commit, new_project
from tests.imports import ROOT
from tests.report.browser import chromium, open_browser

ACCURACY = "method,after,after_step,task,task_step,accuracy\n" + "".join(
    f"{method},{after},{step},{task},{position},{50 + 10 * step + position}\n"
    for method in ("finetune", "gift")
    for step, after in enumerate(("start", "digits", "games"))
    for position, task in enumerate(("digits", "games"), start=1)
)
LOSSES = "method,task,sequence_step,loss,value\n" + "".join(
    f"gift,digits,{step / 10},task,{2 - step / 10}\n" for step in range(10)
)
DRAWN = "[...document.querySelectorAll('canvas, svg.marks')].filter((each) => each.clientWidth > 100).length"
SCRIPT = """\
import pathlib, yaml
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())
folder = pathlib.Path("reports/plots")
folder.mkdir(parents=True)
for name in ("accuracy", "losses"):
    text = pathlib.Path(f"{name}.csv").read_text()
    (folder / f"{name}.csv").write_text(text.replace("gift", f"gift_{params['training']['iterations']}"))
"""


@pytest.fixture(scope="module")
def difference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `dvc plots diff` between an experiment and the commit that it started from.

    The stage `report` of this project only copies tables. The plots are those of dvc.yaml.
    """
    project = new_project(tmp_path_factory.mktemp("plots") / "project")
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    command = "python make_plots.py"
    stage = {"cmd": command, "params": ["training.iterations"], "outs": ["reports/plots"]}
    files = {"make_plots.py": SCRIPT, "accuracy.csv": ACCURACY, "losses.csv": LOSSES}
    files["dvc.yaml"] = yaml.safe_dump({"stages": {"report": stage}, "plots": plots}, sort_keys=False)
    for name, text in files.items():
        (project.folder / name).write_text(text, encoding="utf-8")
    project.repro()
    commit(project, "a result")
    project.run("dvc", "exp", "run", "--name", "longer", "--set-param", "training.iterations=77")
    page = (ROOT / "docs" / "team_tools.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^dvc plots diff .*$", page, flags=re.MULTILINE)
    project.run(*line.split())
    return project.folder / "dvc_plots" / "index.html"


def test_the_page_has_both_experiments_and_names_no_server(difference: Path) -> None:
    text = difference.read_text(encoding="utf-8")
    assert all(name in text for name in ('"longer"', '"main"', "gift_77", "gift_60"))
    assert "cdn." not in text.split("<body>")[1] and "<script src" not in text


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_every_plot_is_drawn_without_a_request(difference: Path) -> None:
    with open_browser() as browser:
        browser.open(difference, width=1280)
        deadline = time.monotonic() + 20
        while (drawn := browser.evaluate(DRAWN)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        requests = [url for url in browser.requests() if not url.startswith(("data:", "blob:"))]
        assert (drawn, requests, browser.errors()) == (3, [difference.resolve().as_uri()], [])
