"""The losses that the report plots, and the heatmap of the Fisher information by layer."""

from __future__ import annotations

from pathlib import Path

from gift_core.report.fisher_heatmap import fisher_heatmaps
from gift_core.report.loss_curves import loss_charts, loss_rows, loss_values
from gift_core.report.page import render_page
from tests.report.run_folder import MATRICES, TASKS, record_of, write_params

METHODS = ("finetune", "gift", "gift_reverse_kl", "gift_image_side")


def row(at: int, **losses: float) -> dict[str, float]:
    return {"iteration": at, "learning_rate": 0.1, "task": 1.0, **losses, "total": 9.0}


def test_a_cross_entropy_to_the_teacher_becomes_a_kl_and_no_other_loss_does(tmp_path: Path) -> None:
    config = write_params(tmp_path, TASKS, METHODS)
    rows = [
        row(0, distill=5.0, distill_entropy=5.0, align=0.5, consolidation=0.0),
        row(1, distill=5.25, distill_entropy=4.75, align=0.25, consolidation=0.125),
    ]
    expected = {"task": [1.0, 1.0], "distill (KL)": [0.0, 0.5], "align": [0.5, 0.25], "consolidation": [0.0, 0.125]}
    assert loss_values(rows, config.methods["gift"]).to_dict("list") == expected
    one_sided = [row(0, distill_image_side=3.0, distill_image_side_entropy=1.0)]
    assert loss_values(one_sided, config.methods["gift_image_side"])["distill_image_side (KL)"].tolist() == [2.0]
    reverse = loss_values([row(0, distill_reverse_kl=3.0)], config.methods["gift_reverse_kl"])
    assert list(reverse) == ["task", "distill_reverse_kl"]
    older = [row(0, distill=5.0, align=0.5, consolidation=0.0)]  # without the entropy
    assert list(loss_values(older, config.methods["gift"])) == ["task", "distill", "align", "consolidation"]
    # a method has no line of a loss or consolidation that it lacks
    lacking = [row(0, distill=0.0, align=0.0, consolidation=0.0, skipped=0.0)]
    assert list(loss_values(lacking, config.methods["finetune"])) == ["task"]


def test_charts_and_plots_have_the_kl_and_neither_entropy_nor_the_total_that_contains_it(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    charts = {chart.title: chart for chart in loss_charts(record)}
    assert list(charts) == ["task", "distill (KL)", "align", "consolidation"]
    assert [*charts["consolidation"].curves] == ["gift"]
    assert charts["distill (KL)"].frame.y_max < 1  # the cross-entropy is 5 and more
    plotted = loss_rows(record)
    assert set(plotted["loss"]) == set(charts)
    assert set(plotted[plotted["method"] == "finetune"]["loss"]) == {"task"}


def test_methods_that_need_fisher_information_have_a_heatmap(tmp_path: Path) -> None:
    record = record_of(tmp_path, matrices={**MATRICES, "ewc": MATRICES["gift"]})
    [section] = fisher_heatmaps(record)
    [heatmap] = section.shown["heatmaps"]
    rows = [(row.number, row.name, row.cells[0].text, *row.plain) for row in heatmap.rows]
    assert (heatmap.title, heatmap.note) == ("EWC", "per sample")
    assert rows == [
        ("image", "stage 2 block 1", "2.5", "99.0%"),  # 100 / 40.4; 400 of 404
        ("text", "block 2", "0.02", "1.0%"),
        ("", "projection", "0", "0.0%"),
    ]
    assert 'id="fisher"' in render_page(record)
