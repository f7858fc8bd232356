"""Reading a run: what is missing or does not fit is refused with the file and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.accuracy_tables import result_rows
from gift_core.report.build import build_report
from gift_core.report.page import render_page
from gift_core.report.run_record import is_plain_finetuning, read_run
from tests.report.run_folder import MATRICES, TASKS, write_accuracies, write_params, write_run


def test_a_missing_accuracy_file_is_named_with_its_stage(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    missing = Layout(tmp_path).accuracy("gift", "textures")
    missing.unlink()
    with pytest.raises(ContractError, match=r"6_accuracy/gift/textures\.parquet.*dvc repro evaluate"):
        build_report(Layout(tmp_path), config, tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_a_missing_row_is_named_by_method_step_and_task(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    path = Layout(tmp_path).accuracy("gift", "zodiac")
    rows, metadata = read_accuracy(path)
    write_accuracy(path, rows[~((rows["step"] == 1) & (rows["eval_task"] == "zodiac"))], metadata)
    with pytest.raises(ContractError, match=r"gift.*step 1 on zodiac"):
        read_run(Layout(tmp_path), config)


def test_accuracies_of_another_sequence_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    layout = Layout(tmp_path)
    write_accuracies(layout, "gift", (TASKS[1], TASKS[0], TASKS[2]), MATRICES["gift"])
    with pytest.raises(ContractError, match="6_accuracy"):
        read_run(layout, config)


def test_methods_with_different_pretrained_models_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    path = Layout(tmp_path).accuracy("gift", "zodiac")
    rows, metadata = read_accuracy(path)
    write_accuracy(path, rows, {**metadata, "model:pretrained": "f" * 64})
    with pytest.raises(ContractError, match=r"finetune and gift .* different versions of model:pretrained"):
        read_run(Layout(tmp_path), config)


def test_missing_losses_and_pairs_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    layout = Layout(tmp_path)
    (layout.model("gift", "letters") / "losses.jsonl").unlink()
    with pytest.raises(ContractError, match=r"5_models/gift/letters/losses\.jsonl"):
        read_run(layout, config)
    (layout.shards("zodiac") / "manifest.json").unlink()
    with pytest.raises(ContractError, match="3_shards/zodiac"):
        read_run(layout, config)


def test_without_replay_no_pairs_are_needed_or_shown(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"finetune": MATRICES["finetune"]})
    (Layout(tmp_path).shards("zodiac") / "manifest.json").unlink()
    record = read_run(Layout(tmp_path), config)
    assert 'id="pairs"' not in render_page(record)


def test_a_zero_shot_method_is_the_zero_shot_row_and_needs_no_losses(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"zero_shot": [MATRICES["gift"][0]] * 4, **MATRICES})
    record = read_run(Layout(tmp_path), config)
    assert record.methods == ("finetune", "gift")
    assert list(record.metrics) == ["zero_shot", "finetune", "gift"]
    assert record.metrics["zero_shot"]["last"] == 50.0
    assert [row.name for row in result_rows(record)] == ["Zero-shot", "Fine-tuning", "GIFT"]


@pytest.mark.parametrize("method", ["joint", "wise_ft", "l2", "gift", "individual", "zero_shot", "lwf"])
def test_only_fine_tuning_on_task_after_task_without_protection_is_plain(tmp_path: Path, method: str) -> None:
    config = write_params(tmp_path, TASKS, ("finetune", method))
    assert is_plain_finetuning(config.methods["finetune"])
    assert not is_plain_finetuning(config.methods[method])
