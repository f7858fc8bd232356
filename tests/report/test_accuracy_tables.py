"""The result tables, charts and sentences of all protocols: references, intervals, accuracies by task and by step.

Also the charts of the losses.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gift_core.config.presets import load_preset
from gift_core.driving.searches import RateSearch, Trial
from gift_core.layout import Layout
from gift_core.method.metrics import Score, accuracy_interval
from gift_core.report import highlight
from gift_core.report.charts import accuracies
from gift_core.report.comparison.paper_table import difference_of
from gift_core.report.loss_curves import loss_charts, loss_rows, loss_values
from gift_core.report.page import accuracy_rows, render_page
from gift_core.report.run_record import RunRecord, read_run
from gift_core.report.scatter import learned_and_kept
from tests.imports import ROOT
from tests.report import run_folder as runs

SEPARATE = [[40, 60, 50], [90, 40, 30], [30, 95, 30], [20, 30, 99]]
JOINT = [[40, 60, 50], [90, 60, 50], [90, 95, 50], [90, 95, 98]]


def test_upper_references_are_never_best_or_baseline(tmp_path: Path) -> None:
    record = runs.record_of(tmp_path, matrices={"individual": SEPARATE, "joint": JOINT, **runs.MATRICES})
    assert (record.best_method, record.baseline_method) == ("gift", "finetune")
    _, _, finetune, gift, title, individual, joint = runs.table_of(render_page(record), '<table class="result">')
    assert [cell for row in (finetune, gift) for cell in row if "<b>" in cell] == [
        "<b>90.0</b>", "<b>53.0</b>", "<b>71.1</b>", "<b>80.0</b> 77.9–81.9", "<b>4.0</b>",
    ]  # fmt: skip
    # of separate models only Own task means something
    assert (title, individual) == (["Upper references"], ["Individual", "–", "–", "–", "–", "94.7"])
    assert joint[0] == "Joint" and "<b>" not in "".join(joint)
    overview, *_ = accuracies(record)
    assert "individual" not in overview.shown["overview"].curves
    # without plain fine-tuning the baseline is the contender with the lowest Last
    others = {"gift": runs.MATRICES["gift"], "zscl": runs.MATRICES["finetune"], "l2": SEPARATE}
    assert runs.record_of(tmp_path / "others", matrices=others).baseline_method == "l2"


def test_separate_models_keep_nothing_of_zero_shot_and_no_step_trains_a_probe(tmp_path: Path) -> None:
    matrices = {"individual": SEPARATE, **runs.MATRICES}
    record = runs.record_of(tmp_path, matrices=matrices, probes={"individual": [[70, 80]] * 4, **runs.PROBES})
    assert runs.table_of(render_page(record), '<table class="result">')[-1][5] == "–"
    *_, section = accuracies(record)
    mean, (flags, _) = section.shown["overview"], section.shown["charts"]
    assert mean.hovers[2] == "After 2 textures\nFine-tuning\t62.5\nGIFT\t74.5\nZero-shot\t75.0"
    assert (flags.title, flags.trained, [text for _, _, text, *_ in flags.labels]) == ("flags", None, ["40.0", "66.0"])


def test_the_interval_of_a_mean_contains_the_truth_in_95_of_100_samples() -> None:
    true, images = np.array([0.6, 0.9, 0.97]), [25, 100, 40]
    samples = np.random.default_rng(0).binomial(images, true, size=(4000, 3)) / images * 100
    intervals = [accuracy_interval(sample.tolist(), images) for sample in samples]
    assert np.mean([low <= 100 * true.mean() <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.015)


def test_the_interval_is_of_paired_differences() -> None:
    difference = difference_of(pd.Series({1: 81.0, 2: 92.0, 3: 73.0}), pd.Series({1: 80.0, 2: 90.0, 3: 70.0}))
    margin = 4.302653 / math.sqrt(3)  # differences 1, 2, 3: mean 2, deviation 1
    assert (difference.mean, difference.seeds) == (2.0, 3)
    assert (difference.low, difference.high) == pytest.approx((2 - margin, 2 + margin))
    one = difference_of(pd.Series({1: 5.0, 2: 7.0}), pd.Series({2: 4.0, 3: 9.0}))  # a common seed
    assert (one.mean, one.seeds, one.verdict("last")) == (3.0, 1, "unknown")
    assert difference_of(pd.Series({1: 5.0}), pd.Series({2: 4.0})).seeds == 0


START = {"birds": Score(50, 100), "digits": Score(80, 100), "letters": Score(60, 100)}


def trial(rate: float, birds: int, digits: int, letters: int) -> Trial:
    return Trial(rate, {"birds": Score(birds, 100), "digits": Score(digits, 100), "letters": Score(letters, 100)}, 1.0)


def test_the_best_rate_gains_the_most_minus_what_it_loses_and_of_equal_ones_is_the_lowest() -> None:
    slow, good, greedy = trial(1e-6, 60, 80, 60), trial(1e-5, 80, 78, 58), trial(1e-4, 85, 60, 40)
    search = RateSearch("birds", START, [slow, good, greedy])
    assert search.best is good
    assert (search.gained(good), search.lost(good)) == (pytest.approx(30), pytest.approx(2))  # in points
    assert search.lost(trial(1e-5, 70, 70, 66)) == pytest.approx((10 - 6) / 2)
    high = trial(1e-5, 70, 70, 50)
    assert RateSearch("birds", START, [high, slow]).best is slow


COLUMNS = ("before_percent", "after_percent", "end_percent", "difference_points")
NUMBERS = ("transfer_percent", "avg_percent", "last_percent", "forgetting_points")
FINETUNE, GIFT = runs.MATRICES["finetune"], runs.MATRICES["gift"]


def values(record: RunRecord, method: str) -> list[tuple[float | int | None, ...]]:
    return [tuple(row[column] for column in COLUMNS) for row in highlight.accuracies_by_task(record, method).values()]


def test_a_single_task_has_dashes_for_transfer_and_forgetting(tmp_path: Path) -> None:
    record = runs.record_of(tmp_path, tasks=("letters",), matrices={"finetune": [[40], [90]], "gift": [[40], [85]]})
    sentence = highlight.result_sentences(record)[0]
    assert "".join(highlight.headline(record)[:2]) == sentence == (
        "After 1 task of the miniature benchmark, Fine-tuning has 90.0% mean accuracy and GIFT has 85.0% (zero-shot "
        "model: 40.0%)."
    )  # fmt: skip
    assert render_page(record).count("<td>–</td>") == 6
    assert values(record, "gift") == [(40, 85, 85, 0)]


def test_a_method_that_starts_again_has_the_pretrained_model_before_each_task(tmp_path: Path) -> None:
    record = runs.record_of(tmp_path, matrices={"finetune": FINETUNE, "joint": GIFT, "individual": GIFT})
    assert values(record, "joint") == [(40, 80, 74, -6), (60, 88, 86, -2), (50, 80, 80, 0)]
    assert values(record, "individual") == [(40, 80, None, None), (60, 88, None, None), (50, 80, None, None)]
    individual = highlight.run_summary(record)["methods"]["individual"]
    assert [individual[key] for key in NUMBERS] == [None] * 4


def test_the_sentences_say_what_the_baseline_and_the_best_method_lost(tmp_path: Path) -> None:
    record = runs.record_of(tmp_path)
    forgotten, *others = highlight.result_sentences(record)
    assert forgotten == (
        "After 3 tasks of the miniature benchmark, plain fine-tuning has lost 45.0 points of what it had learned and "
        "GIFT 4.0."
    )
    assert "".join([others[0], " ", others[1]]) == "".join(highlight.headline(record)[:2])
    assert values(record, "finetune") == [(40, 90, 30, -60), (50, 95, 65, -30), (20, 85, 85, 0)]
    assert values(record, "zero_shot") == [(40, 40, 40, 0), (60, 60, 60, 0), (50, 50, 50, 0)]


def test_above_the_headline_is_what_its_methods_do_against_forgetting(tmp_path: Path) -> None:
    record = runs.record_of(tmp_path / "two")
    said = highlight.introduction(record)
    assert "GIFT replays generated images" in said and "Plain fine-tuning does nothing against forgetting." in said
    assert f'<p class="note">{said}</p>\n<h1>' in render_page(record)
    config = load_preset(ROOT / "presets" / "mini_compare.yaml")
    ways = {method: highlight.ways_of(row) for method, row in config.methods.items()}
    assert ways["joint"] == ["is trained on the data of all tasks so far"]
    assert [method for method, found in ways.items() if not found] == ["zero_shot", "finetune"]


def test_a_point_for_each_method_has_what_was_learned_against_what_is_kept_of_zero_shot(tmp_path: Path) -> None:
    matrices = {**runs.MATRICES, "individual": GIFT}
    probes = {**runs.PROBES, "individual": [runs.PROBES["gift"][0]] * 4}
    record = runs.record_of(tmp_path / "probes", matrices=matrices, probes=probes)
    (section,) = learned_and_kept(record)
    chart = section.shown["chart"]
    points = {method: [(round(x, 4), round(y, 4)) for x, y in curve] for method, curve in chart.curves.items()}
    assert (points["finetune"], points["gift"]) == ([(55.0, 60.0)], [(74.0, 80.0)])
    assert points["zero_shot"][0][0] == 75.0 and points["zero_shot"][-1][1] == 50.0
    assert 'id="learned"' in render_page(record)
    assert [*learned_and_kept(runs.record_of(tmp_path / "none"))] == []


STEPS = ("first", "second", "third")
ZERO_SHOT = (80.0, 70.0, 60.0)
SEEN = {"finetune": (95.0, 60.0, 40.0), "gift": (90.0, 81.0, 72.0)}


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    matrices = {method: [ZERO_SHOT, *[curve] * 3] for method, curve in SEEN.items()}  # of which the diagonal
    evaluation = {"batch_size": 256, "protocol": "class_incremental", "max_images": None}
    config = runs.write_run(tmp_path, tasks=STEPS, matrices=matrices, changes={"evaluation": evaluation})
    for task, classes in zip(STEPS, (10, 20, 70), strict=True):
        runs.write_task_json(Layout(tmp_path), task, classes=classes)
    return read_run(Layout(tmp_path), config)


def test_the_page_has_avg_and_last_alone_and_no_task_charts_and_no_matrices(record: RunRecord) -> None:
    html = render_page(record)
    assert [[cell.partition(" ")[0] for cell in row] for row in runs.table_of(html, '<table class="result">')] == [
        ["Method", "Avg", "Last"], ["Zero-shot", "70.0", "60.0"], ["Fine-tuning", "65.0", "40.0"],
        ["GIFT", "<b>81.0</b>", "<b>72.0</b>"],
    ]  # fmt: skip
    assert 'id="seen"' in html and 'href="#seen"' in html
    assert 'id="forgetting"' not in html and 'id="matrices"' not in html
    assert "Own task" not in html and "Transfer" not in html
    assert "".join(highlight.headline(record)[:2]) == (
        "After 3 steps of the miniature benchmark, GIFT has 72.0% accuracy on 100 classes and plain fine-tuning has "
        "40.0% (zero-shot model: 60.0%). Averaged over all steps, GIFT has 81.0% and plain fine-tuning has 65.0%."
    )
    assert record.metrics["gift"] == {"transfer": None, "avg": 81.0, "last": 72.0, "forgetting": None}
    rows = accuracy_rows(record)
    assert rows[rows.method == "zero_shot"].accuracy.tolist() == list(ZERO_SHOT)
    last = rows[(rows.method == "gift") & (rows.after_step == 3)].iloc[0]
    assert (last.after, last.task, last.phase, last.accuracy) == ("third", "classes seen", "current", 72.0)


def test_chart_and_table_of_steps_count_classes_seen_and_have_zero_shot(record: RunRecord) -> None:
    (section,) = accuracies(record)
    chart = section.shown["seen_chart"]
    assert [*chart.x_ticks.values()] == ["10", "30", "100"]
    assert chart.curves["zero_shot"] == [(10, 80.0), (30, 70.0), (100, 60.0)]
    assert {method for method, *_ in chart.lines} == {"finetune", "gift"}
    assert chart.hovers[30].splitlines() == [
        "After step 2 of 3\t30 classes", "Fine-tuning\t60.0", "GIFT\t81.0", "Zero-shot\t70.0",
    ]  # fmt: skip
    _, _, second, _ = runs.table_of(render_page(record), '<table class="matrix steps"')
    assert second == ["2 second", "30 mean", "70.0 mean", "60.0 loss3", "81.0 gain3"]


METHODS = ("finetune", "gift", "gift_reverse_kl", "gift_image_side")


def row(at: int, **losses: float) -> dict[str, float]:
    return {"iteration": at, "learning_rate": 0.1, "task": 1.0, **losses, "total": 9.0}


def test_a_cross_entropy_to_the_teacher_becomes_a_kl_and_no_other_loss_does(tmp_path: Path) -> None:
    config = runs.write_params(tmp_path, runs.TASKS, METHODS)
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
    # a method has no line of a consolidation that it lacks
    lacking = [row(0, consolidation=0.0, skipped=0.0)]
    assert list(loss_values(lacking, config.methods["finetune"])) == ["task"]
    # charts and plots have neither the entropy nor the total that contains it
    record = runs.record_of(tmp_path)
    charts = {chart.title: chart for chart in loss_charts(record)}
    assert list(charts) == ["task", "distill (KL)", "align", "consolidation"]
    assert [*charts["consolidation"].curves] == ["gift"]
    assert charts["distill (KL)"].frame.y_max < 1  # the cross-entropy is 5 and more
    plotted = loss_rows(record)
    assert set(plotted["loss"]) == set(charts)
    assert set(plotted[plotted["method"] == "finetune"]["loss"]) == {"task"}
