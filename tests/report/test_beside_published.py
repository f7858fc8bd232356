"""A run of MTIL beside what was published of it: when it may stand there, and whether zero-shot agrees."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.metrics import accuracy_matrix
from gift_core.published import mtil
from gift_core.published.mtil import ORDER_1, ORDER_2, Benchmark
from gift_core.report import build_report
from gift_core.report.gather import gather
from gift_core.report.matrices import published_matrices
from gift_core.report.page import render_page
from gift_core.report.table import published_rows
from gift_core.report.zero_shot_check import check_zero_shot, rows_of
from tests.report.run_folder import write_run, write_task_json

OPENAI = {"name": "ViT-B-16", "pretrained": "openai", "precision": "fp32"}
AGREES = "Zero-shot agrees with the published MTIL order I"


def write_mtil(
    root: Path,
    benchmark: Benchmark = ORDER_1,
    *,
    apart: Mapping[str, float] | None = None,
    model: Mapping[str, Any] = OPENAI,
    row: Mapping[str, Any] | None = None,
) -> Config:
    """A run whose tasks, t0, t1 ..., are the benchmark's data sets; zero-shot as published but for `apart`."""
    untouched = [float(value) + (apart or {}).get(str(name), 0.0) for name, value in mtil.zero_shot(benchmark).items()]
    tasks = tuple(f"t{place}" for place in range(11))
    rows = zip(tasks, benchmark.data_sets, strict=True)
    of_tasks = {
        task: {"source": "catalogue", "dataset": data_set, "path": f"data/0_raw/{data_set}", **(row or {})}
        for task, data_set in rows
    }
    matrix = [untouched, *[[80.0] * 11] * 11]
    return write_run(root, tasks=tasks, matrices={"gift": matrix}, changes={"tasks": of_tasks, "model": dict(model)})


def first_line(html: str) -> str:
    """The first text of the page's body."""
    body = html[html.index("<body>") :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", body[: body.index("</p>")])).strip()


@pytest.mark.parametrize("benchmark", [ORDER_1, ORDER_2])
def test_a_run_of_either_order_is_known_by_its_data_sets_and_agrees(tmp_path: Path, benchmark: Benchmark) -> None:
    config = write_mtil(tmp_path, benchmark)
    sentence = build_report(Layout(tmp_path), config, tmp_path / "reports")
    assert sentence.startswith(f"Zero-shot agrees with the published {benchmark.title} (CLIP ViT-B/16")
    assert "mean 65.3% against 65.3%, no data set more than 0.0 points apart." in sentence
    assert first_line((tmp_path / "reports/index.html").read_text(encoding="utf-8")) == f"✓ {sentence}".replace(
        "'", "&#39;"
    )
    check = json.loads((tmp_path / "reports/zero_shot.json").read_text(encoding="utf-8"))
    assert (check["verdict"], check["sentence"]) == ("agrees", sentence)
    assert check["data_sets"]["eurosat"] == {"measured": 54.9, "published": 54.9}
    assert list(check["data_sets"]) == list(benchmark.data_sets)


def test_the_published_rows_stand_below_the_runs_own_and_are_never_the_best(tmp_path: Path) -> None:
    record = gather(Layout(tmp_path), write_mtil(tmp_path))
    rows = {row.method: [figure.text for figure in row.figures] for row in published_rows(record)}
    assert rows["gift"] == ["69.3", "77.3", "86.0", "–", "–"]
    # forgetting and own tasks by hand from the published accuracies
    matrix = accuracy_matrix(mtil.accuracy_rows(ORDER_1), "zscl").to_numpy() * 100
    own, last = np.diag(matrix), matrix[-1]
    assert rows["zscl"] == ["68.1", "75.4", "83.6", f"{(own - last)[:-1].mean():.1f}", f"{own.mean():.1f}"]
    assert not any(figure.best for row in published_rows(record) for figure in row.figures)
    html = render_page(record)
    assert "Published: MTIL order I, not measured here" in html and "arXiv 2503.04229" in html


def test_published_matrices_have_the_runs_own_task_names_and_their_own_zero_shot_row(tmp_path: Path) -> None:
    record = gather(Layout(tmp_path), write_mtil(tmp_path))
    matrices = {matrix.method: matrix for matrix in published_matrices(record)}
    assert list(matrices) == ["finetune", "lwf", "icarl", "lwf_vr", "wise_ft", "zscl"]
    first = matrices["lwf"].rows[0]
    assert (first.name, [cell.text for cell in first.cells][:2]) == ("zero-shot", ["24", "88"])
    assert [row.name for row in matrices["lwf"].rows[1:]] == list(record.tasks)
    assert published_matrices(gather(Layout(tmp_path / "2"), write_mtil(tmp_path / "2", ORDER_2))) == []


def test_the_data_sets_that_differ_are_named_the_worst_first_with_what_to_check(tmp_path: Path) -> None:
    record = gather(Layout(tmp_path), write_mtil(tmp_path, apart={"dtd": 1.5, "eurosat": -12.0, "food": 0.9}))
    assert record.published is not None
    check = record.published.zero_shot
    assert check.verdict == "differs"
    assert "eurosat 42.9 against 54.9 (−12.0), dtd 46.1 against 44.6 (+1.5). Check first: their templates" in (
        check.sentence
    )
    assert "food" not in check.sentence
    assert [row.data_set for row in rows_of(check) if row.is_apart] == ["dtd", "eurosat"]
    assert {row.data_set: row.difference for row in rows_of(check)}["mnist"] == "0.0"
    assert published_rows(record)  # the rows stand there all the same


def measured(**apart: float) -> pd.Series[float]:
    published = mtil.zero_shot(ORDER_1)
    return published + pd.Series(apart).reindex(published.index).fillna(apart.get("all", 0.0))


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [
        ({"dtd": 1.0}, "agrees"),
        ({"dtd": 1.01}, "differs"),
        ({"dtd": -1.01}, "differs"),
        ({"all": 0.5}, "agrees"),
        ({"all": -0.51}, "differs"),
    ],
)
def test_the_tolerance_is_a_point_a_data_set_and_half_a_point_in_the_mean(
    apart: dict[str, float], verdict: str
) -> None:
    assert check_zero_shot(ORDER_1, measured(**apart)).verdict == verdict


def test_where_most_data_sets_differ_the_model_is_suspected_first() -> None:
    few, most, leaning = (check_zero_shot(ORDER_1, measured(**apart)).sentence for apart in (
        {"dtd": 3.0}, {"all": -4.0}, {"all": -0.8}))  # fmt: skip
    assert "Check first: their templates, the order of their class names, their test split" in few
    assert "Check first: QuickGELU" in most and "Check first: QuickGELU" in leaning
    assert "all lean to one side" in leaning


def test_few_shot_runs_compare_zero_shot_but_show_no_published_rows(tmp_path: Path) -> None:
    record = gather(Layout(tmp_path), write_mtil(tmp_path, row={"shots": 5}))
    html = render_page(record)
    assert first_line(html).startswith(f"✓ {AGREES}")
    assert published_rows(record) == [] and published_matrices(record) == []
    assert "are not shown:</b> the run is few-shot (5 training images a class)." in html


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"name": "ViT-L-14", "pretrained": "openai"}, "ViT-L-14, openai"),
        ({"name": "ViT-B-16", "pretrained": "laion2b_s34b_b88k"}, "ViT-B-16, laion2b_s34b_b88k"),
        ({"name": "local-dir:data/mini/clip", "pretrained": None}, "local-dir:data/mini/clip"),
    ],
)
def test_nothing_is_compared_with_another_model(tmp_path: Path, model: dict[str, Any], said: str) -> None:
    record = gather(Layout(tmp_path), write_mtil(tmp_path, model={**model, "precision": "fp32"}))
    assert record.published is not None and record.published.zero_shot.verdict == "not compared"
    assert f"the published rows are of another model (CLIP ViT-B/16 with OpenAI's weights; here {said})" in (
        record.published.zero_shot.sentence
    )
    assert published_rows(record) == [] and rows_of(record.published.zero_shot) == []


@pytest.mark.parametrize("name", ["ViT-B-16-quickgelu", "ViT-B-16"])
def test_both_names_of_the_published_model_are_known(tmp_path: Path, name: str) -> None:
    record = gather(Layout(tmp_path), write_mtil(tmp_path, model={**OPENAI, "name": name}))
    assert record.published is not None and record.published.zero_shot.verdict == "agrees"


def test_parts_of_data_sets_are_neither_compared_nor_shown_beside(tmp_path: Path) -> None:
    config = write_mtil(tmp_path / "slice", row={"classes": {"order": "labels", "first": 0, "count": 5}})
    record = gather(Layout(tmp_path / "slice"), config)
    assert record.published is not None and "t0 has only 5 of its classes" in record.published.zero_shot.sentence
    config = write_mtil(tmp_path / "part", row={"allow_partial": True})
    write_task_json(Layout(tmp_path / "part"), "t0", notes=["incomplete: 3,000 of 3,334 training images"])
    write_task_json(Layout(tmp_path / "part"), "t1", skipped=[("a.jpg", "cut short")])
    record = gather(Layout(tmp_path / "part"), config)
    assert record.published is not None and record.published.withheld == (
        "t0: incomplete: 3,000 of 3,334 training images",
        "t1: unreadable images were skipped (1)",
    )
    assert published_rows(record) == []


def test_allow_partial_alone_withholds_nothing(tmp_path: Path) -> None:
    record = gather(Layout(tmp_path), write_mtil(tmp_path, row={"allow_partial": True}))
    assert published_rows(record)


def test_a_run_of_no_benchmark_says_nothing_of_it(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    assert build_report(Layout(tmp_path), config, tmp_path / "reports") == ""
    assert json.loads((tmp_path / "reports/zero_shot.json").read_text())["verdict"] == "no benchmark"
    html = (tmp_path / "reports/index.html").read_text(encoding="utf-8")
    assert "ublished" not in html.replace("unpublished", "")[html.index("<body>") : html.index("<script>")]
