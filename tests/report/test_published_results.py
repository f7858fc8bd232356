"""A run of MTIL and its published results: when they are shown, and whether zero-shot agrees."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gift_core.layout import Layout
from gift_core.metrics import accuracy_matrix
from gift_core.published import mtil
from gift_core.published.mtil import ORDER_1, ORDER_2, Benchmark
from gift_core.report.accuracy_tables import published_matrices, published_rows
from gift_core.report.build import build_report
from gift_core.report.page import render_page
from gift_core.report.published_results import ZeroShotCheck, check_zero_shot, data_set_rows
from gift_core.report.run_record import RunRecord, read_run
from tests.report.run_folder import limit_accuracies, write_mtil, write_run, write_task_json


@pytest.mark.parametrize("benchmark", [ORDER_1, ORDER_2])
def test_both_orders_are_recognized_by_their_data_sets(tmp_path: Path, benchmark: Benchmark) -> None:
    (sentence,) = build_report(Layout(tmp_path), write_mtil(tmp_path, benchmark), tmp_path / "reports")
    assert sentence.startswith(f"Zero-shot agrees with the published {benchmark.title} (CLIP ViT-B/16")
    assert "mean 65.3%, published 65.3%; the largest difference of a data set is 0.0 points." in sentence
    html = (tmp_path / "reports/index.html").read_text(encoding="utf-8")
    first = html[html.index("<body>") : html.index("</p>", html.index("<body>"))]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", first)).strip()
    assert text == f"✓ {sentence}".replace("'", "&#39;")
    check = json.loads((tmp_path / "reports/zero_shot.json").read_text(encoding="utf-8"))
    assert (check["verdict"], check["sentence"]) == ("agrees", sentence)
    assert check["data_sets"]["eurosat"] == {"measured": 54.9, "published": 54.9}
    assert list(check["data_sets"]) == list(benchmark.data_sets)


def mtil_record(root: Path, benchmark: Benchmark = ORDER_1, **options: Any) -> RunRecord:
    return read_run(Layout(root), write_mtil(root, benchmark, **options))


def zero_shot_of(record: RunRecord) -> ZeroShotCheck:
    assert record.published is not None
    return record.published.zero_shot


def test_published_rows_are_shown_and_never_marked_as_best(tmp_path: Path) -> None:
    record = mtil_record(tmp_path, row={"allow_partial": True})  # all data sets are complete all the same
    rows = {row.method: [cell.text for cell in row.cells] for row in published_rows(record)}
    assert rows["gift"] == ["69.3", "77.3", "86.0", "–", "–"]
    # Forgetting and Own task, computed from the published accuracies
    matrix = accuracy_matrix(mtil.accuracy_rows(ORDER_1), "zscl").to_numpy() * 100
    own, last = np.diag(matrix), matrix[-1]
    assert rows["zscl"] == ["68.1", "75.4", "83.6", f"{(own - last)[:-1].mean():.1f}", f"{own.mean():.1f}"]
    assert not any(cell.best for row in published_rows(record) for cell in row.cells)
    html = render_page(record)
    assert "Published: MTIL order I, not measured here" in html and "arXiv 2503.04229" in html
    # the best later results are the last rows, with their kind and where they were read
    later = {row.name: [cell.text for cell in row.cells] for row in published_rows(record)[-2:]}
    assert list(later) == ["FARA (best plain CLIP)", "PACT (best of any kind: router or adapters)"]
    assert later["FARA (best plain CLIP)"] == ["70.1", "78.1", "86.6", "–", "–"]
    assert "PACT from PACT (read from: second source)" in html


def test_published_matrices_have_the_task_names_of_the_run_and_the_published_zero_shot_row(tmp_path: Path) -> None:
    record = mtil_record(tmp_path)
    matrices = {matrix.method: matrix for matrix in published_matrices(record)}
    assert list(matrices) == ["finetune", "lwf", "icarl", "lwf_vr", "wise_ft", "zscl"]
    first = matrices["lwf"].rows[0]
    assert (first.name, [cell.text for cell in first.cells][:2]) == ("zero-shot", ["24", "88"])
    assert [row.name for row in matrices["lwf"].rows[1:]] == list(record.tasks)
    second = mtil_record(tmp_path / "2", ORDER_2)
    assert published_matrices(second) == []
    assert [row.method for row in published_rows(second)][-2:] == ["gift", "FARA (best plain CLIP)"]


def test_data_sets_that_differ_are_named_in_order_of_size_with_what_to_check(tmp_path: Path) -> None:
    record = mtil_record(tmp_path, apart={"dtd": 1.5, "eurosat": -12.0, "food": 0.9})
    check = zero_shot_of(record)
    assert check.verdict == "differs" and "food" not in check.sentence
    named = "eurosat 42.9, published 54.9 (−12.0); dtd 46.1, published 44.6 (+1.5)."
    assert f"{named} Check first: their templates" in check.sentence
    assert [row.data_set for row in data_set_rows(check) if row.differs] == ["dtd", "eurosat"]
    assert {row.data_set: row.difference for row in data_set_rows(check)}["mnist"] == "0.0"
    assert published_rows(record)  # they are still shown


def measured(**apart: float) -> pd.Series[float]:
    published = mtil.zero_shot(ORDER_1)
    return published + pd.Series(apart).reindex(published.index).fillna(apart.get("all", 0.0))


def test_the_tolerance_is_one_point_per_data_set_and_half_a_point_in_the_mean() -> None:
    for apart in ({"dtd": 1.0}, {"all": 0.5}):
        assert check_zero_shot(ORDER_1, measured(**apart)).verdict == "agrees"
    for apart in ({"dtd": 1.01}, {"dtd": -1.01}, {"all": -0.51}):
        assert check_zero_shot(ORDER_1, measured(**apart)).verdict == "differs"


def test_if_most_data_sets_differ_the_model_is_to_be_checked_first() -> None:
    few, most, mean_only = (check_zero_shot(ORDER_1, measured(**apart)).sentence for apart in (
        {"dtd": 3.0}, {"all": -4.0}, {"all": -0.8}))  # fmt: skip
    assert "Check first: their templates, the order of their class names, their test split" in few
    assert "Check first: QuickGELU" in most and "Check first: QuickGELU" in mean_only
    assert "but the mean differs by more than 0.5" in mean_only


def test_few_shot_runs_compare_zero_shot_but_show_no_published_rows(tmp_path: Path) -> None:
    record = mtil_record(tmp_path, row={"shots": 5})
    assert zero_shot_of(record).verdict == "agrees"
    assert published_rows(record) == [] and published_matrices(record) == []
    assert "are not shown:</b> the run is few-shot (5 training images per class)." in render_page(record)


@pytest.mark.parametrize(
    ("name", "pretrained", "expected"),
    [
        ("ViT-L-14", "openai", "this run used ViT-L-14, openai"),
        ("ViT-B-16", "laion2b_s34b_b88k", "this run used ViT-B-16, laion2b_s34b_b88k"),
        ("local-dir:data/mini/clip", None, "this run used local-dir:data/mini/clip"),
        ("ViT-B-16-quickgelu", "openai", None),
    ],
)
def test_nothing_is_compared_with_another_model(
    tmp_path: Path, name: str, pretrained: str | None, expected: str | None
) -> None:
    record = mtil_record(tmp_path, model={"name": name, "pretrained": pretrained, "precision": "fp32"})
    check = zero_shot_of(record)
    assert (check.verdict == "agrees") == bool(published_rows(record)) == (expected is None)
    if expected:
        assert f"the published model is CLIP ViT-B/16 with OpenAI's weights, {expected}" in check.sentence
        assert check.verdict == "not compared" and data_set_rows(check) == []


def test_incomplete_data_sets_are_not_compared(tmp_path: Path) -> None:
    few = mtil_record(tmp_path / "slice", row={"classes": {"order": "labels", "first": 0, "count": 5}})
    assert "t0 has only 5 of its classes" in zero_shot_of(few).sentence
    config = write_mtil(tmp_path / "part", row={"allow_partial": True})
    write_task_json(Layout(tmp_path / "part"), "t0", notes=["incomplete: 3,000 of 3,334 training images"])
    write_task_json(Layout(tmp_path / "part"), "t1", skipped=[("a.jpg", "cut short")])
    record = read_run(Layout(tmp_path / "part"), config)
    withheld = ("t0: incomplete: 3,000 of 3,334 training images", "t1: 1 unreadable image skipped")
    assert record.published is not None and record.published.withheld == withheld
    assert published_rows(record) == []


def test_fewer_test_images_are_not_compared(tmp_path: Path) -> None:
    config = write_mtil(tmp_path)
    limited = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"max_images": 50})})
    limit_accuracies(tmp_path, 50)
    record = read_run(Layout(tmp_path), limited)
    what = "the run was tested on at most 50 test images of each task"
    assert what in zero_shot_of(record).sentence
    assert record.published is not None and record.published.withheld == (what,)


def test_a_run_that_is_no_benchmark_does_not_mention_one(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    assert build_report(Layout(tmp_path), config, tmp_path / "reports") == []
    assert json.loads((tmp_path / "reports/zero_shot.json").read_text())["verdict"] == "no benchmark"
    html = (tmp_path / "reports/index.html").read_text(encoding="utf-8")
    assert "ublished" not in html.replace("unpublished", "")[html.index("<body>") : html.index("<script>")]
