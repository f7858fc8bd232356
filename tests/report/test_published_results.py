"""A run of MTIL and its published results: when they are shown, and whether zero-shot agrees."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.report_json import ZeroShot
from gift_core.layout import Layout
from gift_core.method.metrics import accuracy_matrix
from gift_core.report.page import build_report, render_page
from gift_core.report.published import mtil
from gift_core.report.published.mtil import ORDER_1, ORDER_2, Benchmark
from gift_core.report.published_results import check_zero_shot
from gift_core.report.run_record import RunRecord, read_run
from tests.report.run_folder import table_of, write_mtil, write_run, write_task_json


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


def test_published_rows_are_shown_and_never_marked_as_best(tmp_path: Path) -> None:
    record = mtil_record(tmp_path, row={"allow_partial": True})  # all data sets are complete all the same
    html = render_page(record)
    rows = table_of(html, '<tbody class="published">')
    shown = {name: cells for name, *cells in rows}
    assert shown["GIFT †"] == ["69.3", "77.3", "86.0", "–", "–"]
    matrix = accuracy_matrix(mtil.accuracy_rows(ORDER_1), "zscl").to_numpy() * 100
    own, last = np.diag(matrix), matrix[-1]
    assert shown["ZSCL †"] == ["68.1", "75.4", "83.6", f"{(own - last)[:-1].mean():.1f}", f"{own.mean():.1f}"]
    assert not any("<b>" in cell for row in rows for cell in row)
    assert rows[0] == ["Published: MTIL order I, not measured here"] and "arXiv 2503.04229" in html
    assert rows[-2] == ["FARA (best plain CLIP) †", "70.1", "78.1", "86.6", "–", "–"]
    assert rows[-1][0] == "PACT (best of any kind: router or adapters) †"


def test_the_tolerance_is_one_point_per_data_set_and_half_a_point_in_the_mean() -> None:
    def checked(**apart: float) -> ZeroShot:
        published = mtil.zero_shot(ORDER_1)
        measured = published + pd.Series(apart).reindex(published.index).fillna(apart.get("all", 0.0))
        return check_zero_shot(ORDER_1, measured)

    assert checked(dtd=1.0).verdict == checked(all=0.5).verdict == "agrees"
    assert checked(dtd=1.01).verdict == checked(dtd=-1.01).verdict == checked(all=-0.51).verdict == "differs"
    few, most, mean_only = (check.sentence for check in (checked(dtd=3.0), checked(all=-4.0), checked(all=-0.8)))
    assert "Check first: their templates, the order of their class names, their test split" in few
    assert "Check first: QuickGELU" in most and "Check first: QuickGELU" in mean_only


def test_nothing_is_compared_with_another_model(tmp_path: Path) -> None:
    model = {"name": "ViT-B-16", "pretrained": "laion2b_s34b_b88k", "precision": "fp32"}
    record = mtil_record(tmp_path, model=model)
    check, used = record.published.zero_shot, "this run used ViT-B-16, laion2b_s34b_b88k"
    assert f"the published model is CLIP ViT-B/16 with OpenAI's weights, {used}" in check.sentence
    assert check.verdict == "not compared" and not check.data_sets and record.published and not record.published.methods


def test_few_shots_and_incomplete_data_sets_are_not_compared(tmp_path: Path) -> None:
    record = mtil_record(tmp_path / "shots", row={"shots": 5})
    assert record.published.zero_shot.verdict == "agrees"
    html = render_page(record)
    assert "are not shown:</b> the run is few-shot (5 training images per class)." in html
    assert "not measured here" not in html
    few = mtil_record(tmp_path / "slice", row={"classes": {"order": "labels", "first": 0, "count": 5}})
    assert few.published.zero_shot.sentence.endswith(": only 5 of the classes (all 11 tasks).")  # one reason, said once
    layout, config = Layout(tmp_path / "part"), write_mtil(tmp_path / "part", row={"allow_partial": True})
    write_task_json(layout, "t0", notes=["incomplete: 3,000 of 3,334 training images"])
    write_task_json(layout, "t1", skipped=[("a.jpg", "cut short")])
    limited = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"max_images": 50})})
    for path in sorted((layout.root / "data/6_accuracy").rglob("*.parquet")):
        rows, noted = read_accuracy(path)
        write_accuracy(path, rows.assign(n=50, top1=(rows.top1 * 50).round() / 50), {**noted, "max_images": "50"})
    withheld = read_run(layout, limited).published.withheld  # type: ignore[union-attr]
    assert withheld == (
        "incomplete: 3,000 of 3,334 training images (t0)",
        "1 unreadable image skipped (t1)",
        "the run was tested on at most 50 test images of each task",
    )


def test_a_run_that_is_no_benchmark_does_not_mention_one(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    assert build_report(Layout(tmp_path), config, tmp_path / "reports") == []
    assert json.loads((tmp_path / "reports/zero_shot.json").read_text())["verdict"] == "no benchmark"
    html = (tmp_path / "reports/index.html").read_text(encoding="utf-8")
    assert "ublished" not in html.replace("unpublished", "")[html.index("<body>") : html.index("<script>")]
