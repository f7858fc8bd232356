"""What `gift show` prints: the result in sentences and the accuracies by task, computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.layout import Layout
from gift_core.report.highlight import accuracies_by_task, result_sentences, run_summary
from gift_core.report.run_record import RunRecord, read_run
from tests.report.run_folder import MATRICES, METRICS, TASKS, Matrix, write_run, write_seen_run

COLUMNS = ("before_percent", "after_percent", "end_percent", "difference_points")


def record_of(root: Path, **matrices: Matrix) -> RunRecord:
    return read_run(Layout(root), write_run(root, tasks=TASKS, matrices=matrices))


def values(record: RunRecord, method: str) -> list[tuple[float | int | None, ...]]:
    return [tuple(row[column] for column in COLUMNS) for row in accuracies_by_task(record, method).values()]


def test_a_task_has_its_accuracy_before_right_after_and_at_the_end(tmp_path: Path) -> None:
    record = record_of(tmp_path, **MATRICES)
    assert values(record, "finetune") == [(40, 90, 30, -60), (50, 95, 65, -30), (20, 85, 85, 0)]
    assert values(record, "gift") == [(40, 80, 74, -6), (58, 88, 86, -2), (46, 80, 80, 0)]
    assert values(record, "zero_shot") == [(40, 40, 40, 0), (60, 60, 60, 0), (50, 50, 50, 0)]
    assert list(accuracies_by_task(record, "gift")) == list(TASKS)


def test_a_method_that_starts_again_has_the_pretrained_model_before_each_task(tmp_path: Path) -> None:
    record = record_of(tmp_path, finetune=MATRICES["finetune"], joint=MATRICES["gift"], individual=MATRICES["gift"])
    assert values(record, "joint") == [(40, 80, 74, -6), (60, 88, 86, -2), (50, 80, 80, 0)]
    assert values(record, "individual") == [(40, 80, None, None), (60, 88, None, None), (50, 80, None, None)]
    individual = run_summary(record)["methods"]["individual"]
    assert [individual[key] for key in ("transfer_percent", "avg_percent", "last_percent", "forgetting_points")] == [
        None
    ] * 4


def test_the_summary_has_the_metrics_of_metrics_json(tmp_path: Path) -> None:
    summary = run_summary(record_of(tmp_path, **MATRICES))
    for method, row in METRICS.items():
        found = summary["methods"][method]
        keys = ("transfer_percent", "avg_percent", "last_percent", "forgetting_points")
        assert [found[key] for key in keys] == list(row.values())
    assert summary["best_method"] == "gift" and summary["benchmark"] == "miniature benchmark"


def test_the_sentences_say_what_the_baseline_and_the_best_method_lost(tmp_path: Path) -> None:
    assert result_sentences(record_of(tmp_path, **MATRICES)) == [
        "After 3 tasks of the miniature benchmark, plain fine-tuning has lost 45.0 points of what it had learned and "
        "GIFT 4.0.",
        "On tasks not learned yet, plain fine-tuning is 17.5 points below the zero-shot model and GIFT is 2.0 points "
        "below it.",
        "At the end, over all tasks: GIFT 80.0%, plain fine-tuning 60.0%, zero-shot model 50.0%.",
    ]


def test_the_sentences_name_the_winner_whatever_it_is_called(tmp_path: Path) -> None:
    better = {"finetune": MATRICES["gift"], "my_method": MATRICES["finetune"]}
    first, second, last = result_sentences(record_of(tmp_path, **better))
    assert "my_method has lost 45.0 points of what it had learned and plain fine-tuning 4.0" in first
    assert "my_method is 17.5 points below the zero-shot model and plain fine-tuning is 2.0 points below it" in second
    assert last == "At the end, over all tasks: plain fine-tuning 80.0%, my_method 60.0%, zero-shot model 50.0%."


def test_gains_and_no_change_are_said_as_such(tmp_path: Path) -> None:
    gained = [[40, 60, 50], [80, 60, 53], [82, 88, 57], [84, 90, 80]]  # transfer: mean(60, 55); zero-shot 55
    level = [[40, 60, 50], [70, 60, 50], [70, 75, 50], [70, 75, 78]]
    first, second, _ = result_sentences(record_of(tmp_path, finetune=level, gift=gained))
    assert "plain fine-tuning has lost nothing and GIFT has gained 3.0 points on what it had learned" in first
    assert "plain fine-tuning is level with the zero-shot model and GIFT is 2.5 points above it" in second


def test_a_reference_is_never_the_winner(tmp_path: Path) -> None:
    record = record_of(tmp_path, joint=[[40, 60, 50], *[[99, 99, 99]] * 3], **MATRICES)
    assert run_summary(record)["best_method"] == "gift"
    assert "Joint" not in " ".join(result_sentences(record))


def test_one_method_one_task_and_nothing_trained_have_a_sentence_each(tmp_path: Path) -> None:
    alone = result_sentences(record_of(tmp_path / "one method", finetune=MATRICES["finetune"]))
    assert (
        alone[0]
        == "After 3 tasks of the miniature benchmark, plain fine-tuning has lost 45.0 points of what it had learned."
    )
    config = write_run(tmp_path / "task", tasks=("letters",), matrices={"finetune": [[40], [90]], "gift": [[40], [85]]})
    record = read_run(Layout(tmp_path / "task"), config)
    assert "Fine-tuning has 90.0% mean accuracy and GIFT has 85.0%" in result_sentences(record)[0]
    assert values(record, "gift") == [(40, 85, 85, 0)]
    record = record_of(tmp_path / "zero-shot", zero_shot=[MATRICES["gift"][0]] * 4)
    assert "The zero-shot model has 50.0% mean accuracy on 3 tasks" in result_sentences(record)[0]
    assert run_summary(record)["best_method"] is None


def test_a_class_incremental_step_has_classes_zero_shot_and_after(tmp_path: Path) -> None:
    config = write_seen_run(tmp_path, tasks=("a", "b"), zero_shot=(80, 70), seen={"gift": (90, 65)})
    summary = run_summary(read_run(Layout(tmp_path), config))
    assert summary["protocol"] == "class_incremental"
    assert summary["methods"]["gift"]["by_task"]["b"] == {
        "classes_seen": 20, "zero_shot_percent": 70.0, "after_percent": 65.0, "difference_points": -5.0,
    }  # fmt: skip
    assert summary["methods"]["gift"]["transfer_percent"] is None
    assert "GIFT has 65.0% accuracy on 20 classes" in summary["result"][0]


@pytest.mark.parametrize("method", ["gift", "zero_shot"])
def test_every_method_of_the_summary_has_every_task(tmp_path: Path, method: str) -> None:
    summary = run_summary(record_of(tmp_path, **MATRICES))
    assert list(summary["methods"][method]["by_task"]) == summary["tasks"] == list(TASKS)
