"""`dvc plots show` in a browser that reaches no server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.report.browser import chromium, open_browser
from tests.team.clones import new_project

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


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that DVC makes of the plots in dvc.yaml."""
    project = new_project(tmp_path_factory.mktemp("plots") / "project")
    plots = project.folder / "reports" / "plots"
    plots.mkdir(parents=True)
    (plots / "accuracy.csv").write_text(ACCURACY, encoding="utf-8")
    (plots / "losses.csv").write_text(LOSSES, encoding="utf-8")
    project.run("dvc", "plots", "show", "--out", "dvc_plots")
    return project.folder / "dvc_plots" / "index.html"


def test_the_page_names_no_server(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "cdn." not in text.split("<body>")[1]
    assert "<script src" not in text


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_every_plot_is_drawn_without_a_request(page: Path) -> None:
    with open_browser() as browser:
        browser.open(page, width=1280)
        deadline = time.monotonic() + 20
        while (drawn := browser.evaluate(DRAWN)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        requests = [url for url in browser.requests() if not url.startswith(("data:", "blob:"))]
        assert requests == [page.resolve().as_uri()]
        assert browser.errors() == []
        assert drawn == 3
