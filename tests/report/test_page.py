"""The files of reports/: the page with all its content, tidy CSV files that DVC plots, and the same bytes anywhere."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml

from gift_core.artifacts.report_json import read_metrics
from gift_core.config.experiment import Config
from tests.clone import Clone
from tests.imports import ROOT
from tests.report.run_folder import MATRICES, METRICS, PROBES, PROMPTS, TASKS, build, table_of, write_run


class Reader(HTMLParser):
    """Collects tags with attributes, and the text outside scripts and styles. Every tag has to be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", "", html, flags=re.S)
        self.text = re.sub(r"\s+", " ", unescape(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "path", "line", "rect", "circle", "br"):  # these have no end
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def root(whole: tuple[Path, Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(whole[0], folder)
    return build(folder, whole[1]).parent


@pytest.fixture(scope="module")
def html(root: Path) -> str:
    return (root / "reports" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Reader:
    return Reader(html)


def test_headline_and_result_table_have_the_metrics_computed_by_hand(root: Path, page: Reader, html: str) -> None:
    assert read_metrics(root / "reports" / "metrics.json") == METRICS
    assert (
        "After 3 tasks of the miniature benchmark, GIFT has 80.0% mean accuracy and plain fine-tuning has 60.0%. "
        "On tasks not trained yet, GIFT has 53.0% and plain fine-tuning has 37.5% (zero-shot model: 55.0%)."
    ) in page.text
    assert table_of(html, '<table class="result">') == [
        ["Method", "Transfer", "Avg", "Last", "Forgetting", "Own task"],
        ["Zero-shot", "55.0", "50.0", "50.0 47.5–52.5", "0.0", "50.0"],
        ["Fine-tuning", "37.5", "58.3", "60.0 57.8–62.2", "45.0", "<b>90.0</b>"],
        ["GIFT", "<b>53.0</b>", "<b>71.1</b>", "<b>80.0</b> 77.9–81.9", "<b>4.0</b>", "82.7"],
    ]


def test_probes_have_a_column_a_section_and_rows_of_the_plots(tmp_path: Path) -> None:
    reports = build(tmp_path, write_run(tmp_path, probes=PROBES))
    html = (reports / "index.html").read_text(encoding="utf-8")
    assert [row[5] for row in table_of(html, '<table class="result">')] == [
        "Zero-shot kept", "75.0", "55.0 −20.0", "<b>74.0</b> −1.0",
    ]  # fmt: skip
    assert table_of(html, '<table class="matrix steps"')[1:] == [
        ["flags", "200 mean", "70.0 mean", "40.0 loss4", "66.0 loss1"],
        ["runes", "200 mean", "80.0 mean", "70.0 loss3", "82.0 gain1"],
        ["mean", "400 mean", "75.0 mean", "55.0 loss4", "74.0 loss1"],
    ]
    assert "Accuracy on 2 tasks that no step learns, after the last step." in html
    assert 'aria-label="flags. Accuracy at the end: Fine-tuning 40.0%, GIFT 66.0%, Zero-shot 70.0%."' in html
    assert read_metrics(reports / "metrics.json")["gift"] == {
        **METRICS["gift"], "probes": {"mean": 74.0, "change": -1.0, "by_task": {"flags": 66.0, "runes": 82.0}},
    }  # fmt: skip
    rows = pd.read_csv(reports / "plots/accuracy.csv").query("phase == 'probe' and method == 'gift'")
    assert rows[rows.task == "runes"].accuracy.tolist() == [80.0, 80.0, 81.0, 82.0]
    assert set(rows.task_step) == {3, 4} and rows.after.iloc[0] == "zero-shot"


def test_every_accuracy_of_both_matrices_is_in_its_table_with_its_test_images(html: str, page: Reader) -> None:
    matrices = re.findall(r'<table class="matrix">.*?</table>', html, re.S)
    for table, matrix in zip(matrices, MATRICES.values(), strict=True):
        shown = re.findall(r'<td class="\w+(?: own)?" data-tip=.*?>([\d.]+)</td>', table, re.S)
        assert [float(value) for value in shown] == [float(value) for row in matrix for value in row]
        assert table.count(" own") == len(TASKS) and "<span>letters <i>500</i></span>" in table
    assert "1,500 test images. The smallest task has 500. Below Last is the 95% interval" in page.text
    assert page.text.count("500 test images, ±4.4") == len(TASKS)
    tables = re.findall(r"<table.*?</table>", html, re.S)
    assert len(tables) == 6 and all("<caption" in table for table in tables)
    assert all("scope=" in header for header in re.findall(r"<th\b[^>]*>", "".join(tables)))


def test_charts_and_small_embedded_pictures_have_a_description(page: Reader, html: str) -> None:
    charts = [svg["aria-label"] for svg in page.all("svg") if "role" in svg]
    assert len(charts) == 1 + len(TASKS) + 4  # mean, tasks; task loss, distill, align, consolidation
    at_end = "Accuracy at the end: Fine-tuning 30.0%, GIFT 74.0%, Zero-shot 40.0%."
    assert all(charts) and f"letters, trained at position 1 of 3. {at_end}" in charts
    sections = re.findall(r'<section id="(\w+)">(.*?)</section>', html, re.S)  # which images: test_pictures.py
    assert [name for name, text in sections if "<img" in text] == ["tasks", "kept", "pairs"]
    pictures = page.all("img")
    for picture in pictures:
        kind, _, data = str(picture["src"]).partition(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
        assert picture["class"] == "pixelated" and picture["alt"] == picture["title"]
    texts = {str(picture["alt"]) for picture in pictures}
    assert {"letters 0", f"{PROMPTS[0]} thing 3", "letters 0. Fine-tuning: letters 1. GIFT: letters 0."} <= texts


def test_the_page_refers_to_nothing_outside_itself(html: str, page: Reader) -> None:
    references = [str(value) for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href")]
    assert references and all(reference.startswith(("#", "data:")) for reference in references)
    assert not re.search(r"https?://|@import|url\(", html)
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {reference[1:] for reference in references if reference.startswith("#")} <= set(ids)


def test_what_ran_names_model_size_hashes_and_the_environment_and_there_is_no_warning(page: Reader, html: str) -> None:
    gift = "learning_rate 0.0005, replay synthetic (teacher previous)"
    losses = "losses (distill (weight 1, temperature 2), align (weight 0.25, label_smoothing 0.2))"
    models = "1.5 million parameters, fp32", "px, float32"
    for text in (*models, "3" + "0" * 15, f"{gift}, {losses}", "torch 2.9.0, device cpu x86_64 AVX512"):
        assert text in page.text
    assert ", ".join(f"{task} (10 classes, 500 test images)" for task in TASKS) + "<" in html
    absent = ('class="note warning"', "Results of different environments", '<th scope="row">Data</th>', "ablations")
    assert [text for text in absent if text in html] == []


def test_the_plot_files_are_tidy_and_in_percent(root: Path) -> None:
    accuracy = pd.read_csv(root / "reports/plots/accuracy.csv")
    assert len(accuracy) == 2 * 4 * 3
    cell = accuracy[(accuracy.method == "gift") & (accuracy.after == "textures") & (accuracy.task == "letters")].iloc[0]
    assert (cell.after_step, cell.task_step, cell.phase, cell.accuracy) == (2, 0, "past", 78.0)
    losses = pd.read_csv(root / "reports/plots/losses.csv")
    assert len(losses) == (1 + 4) * len(TASKS) * 20  # of finetune: task
    first = losses[(losses.method == "gift") & (losses.loss == "distill (KL)")].iloc[0]
    assert (first.sequence_step, first.value) == (0.025, pytest.approx(0.005))  # mean of iterations 0 and 1 of 30


def test_dvc_plots_every_plot_of_dvc_yaml(root: Path) -> None:
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}), encoding="utf-8")
    Clone(root).run("git", "init", "--quiet")
    Clone(root).run("dvc", "init", "--quiet")
    shutil.copytree(ROOT / ".dvc" / "plots", root / ".dvc" / "plots")
    show = [sys.executable, "-m", "dvc", "plots", "show", "--json"]
    shown = json.loads(subprocess.run(show, cwd=root, check=True, capture_output=True, text=True).stdout)
    assert "errors" not in shown
    assert set(shown["data"]) == {name for plot in plots for name in plot}
    for name, [plot] in shown["data"].items():
        text = plot["content"] if isinstance(plot["content"], str) else json.dumps(plot["content"])
        assert json.loads(text)["data"]["values"] and "<DVC_METRIC" not in text, name
