"""What `gift show` prints: sentences and accuracies by task."""

from __future__ import annotations

from pathlib import Path

from gift_core.layout import Layout
from gift_core.report.highlight import accuracies_by_task, headline, result_sentences, run_summary
from gift_core.report.page import render_page
from gift_core.report.run_record import RunRecord, read_run
from tests.report.run_folder import MATRICES, record_of, write_seen_run

COLUMNS = ("before_percent", "after_percent", "end_percent", "difference_points")
NUMBERS = ("transfer_percent", "avg_percent", "last_percent", "forgetting_points")
FINETUNE, GIFT = MATRICES["finetune"], MATRICES["gift"]


def values(record: RunRecord, method: str) -> list[tuple[float | int | None, ...]]:
    return [tuple(row[column] for column in COLUMNS) for row in accuracies_by_task(record, method).values()]


def test_a_single_task_has_dashes_for_transfer_and_forgetting(tmp_path: Path) -> None:
    record = record_of(tmp_path, tasks=("letters",), matrices={"finetune": [[40], [90]], "gift": [[40], [85]]})
    assert (
        "".join(headline(record))
        == result_sentences(record)[0]
        == (
            "After 1 task of the miniature benchmark, Fine-tuning has 90.0% mean accuracy and GIFT has 85.0% "
            "(zero-shot model: 40.0%); the difference to GIFT is within the noise of 500 test images."
        )
    )
    assert render_page(record).count("<td>–</td>") == 6
    assert values(record, "gift") == [(40, 85, 85, 0)]


def test_a_method_that_starts_again_has_the_pretrained_model_before_each_task(tmp_path: Path) -> None:
    record = record_of(tmp_path, matrices={"finetune": FINETUNE, "joint": GIFT, "individual": GIFT})
    assert values(record, "joint") == [(40, 80, 74, -6), (60, 88, 86, -2), (50, 80, 80, 0)]
    assert values(record, "individual") == [(40, 80, None, None), (60, 88, None, None), (50, 80, None, None)]
    individual = run_summary(record)["methods"]["individual"]
    assert [individual[key] for key in NUMBERS] == [None] * 4


def test_the_sentences_say_what_the_baseline_and_the_best_method_lost(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    assert run_summary(record)["result"] == [
        "After 3 tasks of the miniature benchmark, plain fine-tuning has lost 45.0 points of what it had learned and "
        "GIFT 4.0.",
        "After 3 tasks of the miniature benchmark, GIFT has 80.0% mean accuracy and plain fine-tuning has 60.0%.",
        "On tasks not trained yet, GIFT has 53.0% and plain fine-tuning has 37.5% (zero-shot model: 55.0%); "
        "the difference to the zero-shot model is within the noise of 1,000 test images.",
    ]
    assert values(record, "finetune") == [(40, 90, 30, -60), (50, 95, 65, -30), (20, 85, 85, 0)]
    assert values(record, "gift") == [(40, 80, 74, -6), (58, 88, 86, -2), (46, 80, 80, 0)]
    assert values(record, "zero_shot") == [(40, 40, 40, 0), (60, 60, 60, 0), (50, 50, 50, 0)]


def test_a_difference_within_the_noise_is_said_to_be_so_in_its_own_sentence(tmp_path: Path) -> None:
    close = [[40, 60, 50], [81, 58, 51], [79, 87, 47], [76, 85, 82]]  # Last 81.0 of 1,500 images, GIFT 80.0
    record = record_of(tmp_path / "close", matrices={"finetune": close, "gift": GIFT})
    kept, unseen = headline(record)
    assert kept.endswith("GIFT has 80.0%; the difference to GIFT is within the noise of 1,500 test images.")
    noise = "the difference to GIFT and to the zero-shot model is within the noise of 1,000 test images."
    assert unseen.endswith(f"GIFT has 53.0% (zero-shot model: 55.0%); {noise}")
    forgotten, *others = result_sentences(record)
    assert forgotten.endswith("; the difference is within the noise of 1,000 test images.") and others == [
        kept,
        unseen.strip(),
    ]
    assert (
        "noise" not in result_sentences(record_of(tmp_path / "far", matrices={"finetune": FINETUNE, "gift": GIFT}))[0]
    )
    config = write_seen_run(
        tmp_path / "seen", tasks=("a", "b"), zero_shot=(80, 70), seen={"gift": (70, 66), "lwf": (70, 65)}
    )
    kept, mean = headline(read_run(Layout(tmp_path / "seen"), config))
    assert kept.endswith("the difference to LwF and to the zero-shot model is within the noise of 1,000 test images.")
    assert mean.endswith("LwF has 67.5%; the difference to LwF is within the noise of 1,000 test images.")
