"""The paired test of two methods on the same images, and what the sentences and the page make of it."""

from __future__ import annotations

from math import comb
from pathlib import Path

import pytest

from gift_core.artifacts.predictions import read_predictions, write_predictions
from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.method.metrics import is_within_intervals
from gift_core.report import highlight
from gift_core.report.page import render_page
from gift_core.report.paired import PairedTest, in_all, paired_tests
from gift_core.report.run_record import RunRecord, read_run
from tests.report import run_folder as runs

TASK = "letters"


def counts(record: RunRecord, other: str, metric: str) -> dict[str, tuple[int, int]]:
    tests = paired_tests(record, "gift", other, metric)
    return {task: (test.better, test.worse) for task, test in tests.items()}


def test_images_on_which_two_methods_differ_are_counted_by_task_for_each_metric(whole: tuple[Path, Config]) -> None:
    """A model with 30% is right on the first 30% of 500 images, so all numbers follow from the accuracies."""
    record = read_run(Layout(whole[0]), whole[1])
    assert counts(record, "finetune", "last") == {"letters": (220, 0), "textures": (105, 0), "zodiac": (0, 25)}
    # zodiac: GIFT is right on 250 and 230 images before its step, fine-tuning on 150 and 100
    assert counts(record, "finetune", "transfer") == {"textures": (40, 0), "zodiac": (150, 0)}
    assert counts(record, "zero_shot", "transfer") == {"textures": (0, 10), "zodiac": (0, 20)}
    # letters: fine-tuning forgets images 150 to 449, GIFT 370 to 399
    assert counts(record, "finetune", "forgetting") == {"letters": (270, 0), "textures": (140, 0)}
    assert in_all(paired_tests(record, "gift", "finetune", "last")) == PairedTest(1500, 325, 25)
    page = render_page(record)
    start = page.index("on the same images</b>")
    assert runs.table_of(page, page[start : start + 30])[1:] == [
        ["letters", "500", "220", "0", "<b>p &lt; 0.001</b>"],
        ["textures", "500", "105", "0", "<b>p &lt; 0.001</b>"],
        ["zodiac", "500", "0", "25", "<b>p &lt; 0.001</b>"],
        ["all images", "1,500", "325", "25", "<b>p &lt; 0.001</b>"],
    ]
    assert "The test cannot see the seed" in page


def test_p_is_that_of_the_exact_binomial_test_and_the_images_may_contradict_the_mean_of_tasks() -> None:
    tail = sum(comb(20, k) for k in range(6)) / 2**20
    assert PairedTest(500, 5, 15).p == pytest.approx(2 * tail) and 2 * tail < 0.05
    assert PairedTest(500, 0, 0).p == 1.0
    assert PairedTest(500, 6, 15).is_noise(-1.8)
    assert not PairedTest(500, 5, 15).is_noise(-2.0)
    assert PairedTest(500, 5, 15).is_noise(2.0)  # the mean over tasks has the other sign


def test_the_sentence_names_the_test_and_its_p_and_a_small_difference_can_be_more_than_noise(tmp_path: Path) -> None:
    """88% against 90%: the intervals overlap, and what the images say depends on how many the methods share."""
    matrices = {"finetune": [[40], [90]], "gift": [[40], [88]]}
    config = runs.write_run(tmp_path, tasks=(TASK,), matrices=matrices)
    layout, sentences = Layout(tmp_path), list[str]()
    sentences.append(highlight.result_sentences(read_run(layout, config))[0])
    runs.write_pictures(layout, config)
    sentences.append(highlight.result_sentences(read_run(layout, config))[0])
    file = layout.predictions("gift", TASK)
    rows, metadata = read_predictions(file)
    texts = {name: rows[name].astype(str) for name in ("label", "predicted")}
    is_own, from_end = rows["step"] == 0, rows["image"] >= 60
    wrong = texts["predicted"].where(~is_own | ~from_end, texts["label"]).where(~is_own | from_end, "another")
    write_predictions(file, rows.assign(predicted=wrong), metadata)  # right on the last 88%
    record = read_run(layout, config)
    assert counts(record, "finetune", "last") == {TASK: (50, 60)}
    sentences.append(highlight.result_sentences(record)[0])
    plain = "Fine-tuning has 90.0% mean accuracy and GIFT has 88.0% (zero-shot model: 40.0%)"
    noise = (
        "; the difference between Fine-tuning and GIFT is within the noise of 500 test images "
        "(exact McNemar test, p = 0.39, for this seed alone)"
    )
    before = "After 1 task of the miniature benchmark, "
    assert sentences == [f"{before}{plain}.", f"{before}{plain}.", f"{before}{plain}{noise}."]


def test_accuracies_on_probes_are_compared_by_the_interval_of_their_difference(tmp_path: Path) -> None:
    """Of 400 images each: sqrt(2 * 0.25 * 0.75 / 400) * 1.96 = 6.0 points, although the intervals overlap up to 8.4."""
    assert is_within_intervals([75.0], [69.5], [400]) and is_within_intervals([69.5], [75.0], [400])
    assert not is_within_intervals([75.0], [68.0], [400])
    record = runs.record_of(tmp_path, probes=runs.PROBES)
    kept = highlight.result_sentences(record)[-1]
    assert kept.endswith("within the noise of 400 test images (unpaired 95% interval, for this seed alone).")
    assert "between GIFT and the zero-shot model" in kept and "between GIFT and plain" not in kept
    first, second, (below,) = highlight.headline(record)
    assert first.endswith("60.0%.") and second.endswith("(zero-shot model: 75.0%).")  # the noise is not in big type
    assert below == f"Zero-shot kept: {kept.partition('; ')[2]}"
