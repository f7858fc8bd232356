"""Reading a run: what is missing or does not fit is refused with the file and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.accuracy_tables import result_rows
from gift_core.report.page import render_page
from gift_core.report.run_record import is_plain_finetuning, read_run
from tests.report import run_folder
from tests.report.run_folder import (
    MATRICES,
    TASKS,
    build,
    change_accuracies,
    limit_accuracies,
    record_of,
    write_params,
    write_run,
    write_seen_run,
)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("data/6_accuracy/gift/textures.parquet", r"6_accuracy/gift/textures\.parquet.*dvc repro evaluate"),
        ("data/5_models/gift/letters/losses.jsonl", r"5_models/gift/letters/losses\.jsonl"),
        ("data/3_shards/zodiac/manifest.json", "3_shards/zodiac"),
    ],
)
def test_a_missing_file_is_named_with_its_stage(tmp_path: Path, file: str, message: str) -> None:
    config = write_run(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ContractError, match=message):
        build(tmp_path, config)
    assert not (tmp_path / "reports").exists()


def test_a_missing_row_is_named_by_method_step_and_task(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    change_accuracies(tmp_path, "gift", "zodiac", keep="step != 1 or eval_task != 'zodiac'")
    with pytest.raises(ContractError, match=r"gift.*step 1 on zodiac"):
        read_run(Layout(tmp_path), config)


def test_accuracies_of_another_sequence_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    layout = Layout(tmp_path)
    run_folder.write_accuracies(layout, "gift", (TASKS[1], TASKS[0], TASKS[2]), MATRICES["gift"])
    with pytest.raises(ContractError, match="6_accuracy"):
        read_run(layout, config)


def test_methods_with_different_pretrained_models_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    change_accuracies(tmp_path, "gift", "zodiac", **{"model:pretrained": "f" * 64})
    with pytest.raises(ContractError, match=r"finetune and gift .* different versions of model:pretrained"):
        read_run(Layout(tmp_path), config)


def test_accuracies_of_another_limit_of_test_images_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    limit_accuracies(tmp_path, 50)
    what = r"finetune was evaluated where evaluation\.max_images was 50, it is empty\. Re-make it with: dvc repro"
    with pytest.raises(ContractError, match=what):
        read_run(Layout(tmp_path), config)


def test_class_incremental_limits_are_compared_with_the_images_of_all_tasks_so_far(tmp_path: Path) -> None:
    tasks, seen = ("letters", "digits"), {"gift": [90.0, 80.0]}
    record = read_run(Layout(tmp_path), write_seen_run(tmp_path, tasks=tasks, zero_shot=[50.0, 40.0], seen=seen))
    assert record.existing_test_images == record.test_images == {"letters": 500, "digits": 1000}


def test_without_replay_no_pairs_are_needed_or_shown(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"finetune": MATRICES["finetune"]})
    (Layout(tmp_path).shards("zodiac") / "manifest.json").unlink()
    assert 'id="pairs"' not in render_page(read_run(Layout(tmp_path), config))


def test_a_zero_shot_method_is_the_zero_shot_row_and_needs_no_losses(tmp_path: Path) -> None:
    record = record_of(tmp_path, matrices={"zero_shot": [MATRICES["gift"][0]] * 4, **MATRICES})
    assert record.methods == ("finetune", "gift")
    assert list(record.metrics) == ["zero_shot", "finetune", "gift"]
    assert record.metrics["zero_shot"]["last"] == 50.0
    assert [row.name for row in result_rows(record)] == ["Zero-shot", "Fine-tuning", "GIFT"]


def test_only_fine_tuning_on_task_after_task_without_protection_is_plain(tmp_path: Path) -> None:
    others = ("joint", "wise_ft", "l2", "gift", "individual", "zero_shot", "lwf")
    methods = write_params(tmp_path, TASKS, ("finetune", *others)).methods
    assert [name for name in methods if is_plain_finetuning(methods[name])] == ["finetune"]
