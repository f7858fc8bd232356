"""A run that lacks something is refused with the file and the remedy; runs of other shapes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report import build_report
from gift_core.report.gather import gather
from gift_core.report.page import render_page
from gift_core.report.words import headline
from tests.report.run_folder import MATRICES, TASKS, write_method, write_run


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
        gather(Layout(tmp_path), config)


def test_accuracies_of_another_sequence_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    layout = Layout(tmp_path)
    write_method(layout, "gift", (TASKS[1], TASKS[0], TASKS[2]), MATRICES["gift"])
    with pytest.raises(ContractError, match="6_accuracy"):
        gather(layout, config)


def test_methods_that_started_from_different_models_are_not_compared(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    path = Layout(tmp_path).accuracy("gift", "zodiac")
    rows, metadata = read_accuracy(path)
    write_accuracy(path, rows, {**metadata, "model:pretrained": "f" * 64})
    with pytest.raises(ContractError, match=r"finetune and gift .* different versions of model:pretrained"):
        gather(Layout(tmp_path), config)


def test_missing_losses_and_pairs_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    layout = Layout(tmp_path)
    (layout.shards("zodiac") / "manifest.json").unlink()
    with pytest.raises(ContractError, match="3_shards/zodiac"):
        gather(layout, config)
    (layout.model("gift", "letters") / "losses.jsonl").unlink()
    with pytest.raises(ContractError, match=r"5_models/gift/letters/losses\.jsonl"):
        gather(layout, config)


def test_without_replay_the_page_has_no_contact_sheet_and_needs_no_pairs(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"finetune": MATRICES["finetune"]})
    (Layout(tmp_path).shards("zodiac") / "manifest.json").unlink()
    record = gather(Layout(tmp_path), config)
    assert 'id="pairs"' not in render_page(record)
    assert headline(record)[0] == "After 3 tasks Fine-tuning keeps 60.0% mean accuracy;"


def test_a_single_task_has_dashes_for_transfer_and_forgetting(tmp_path: Path) -> None:
    config = write_run(tmp_path, tasks=("letters",), matrices={"finetune": [[40], [90]], "gift": [[40], [85]]})
    record = gather(Layout(tmp_path), config)
    assert "".join(headline(record)) == (
        "After 1 task Fine-tuning keeps 90.0% mean accuracy where GIFT keeps 85.0% "
        "(the untouched zero-shot model: 40.0%)."
    )
    assert render_page(record).count("<td>–</td>") == 6


def test_the_baseline_is_a_method_without_any_protection_even_where_another_is_worse(tmp_path: Path) -> None:
    worse = [[40, 60, 50], [50, 50, 30], [40, 55, 20], [20, 35, 45]]
    config = write_run(tmp_path, matrices={**MATRICES, "l2": worse})
    assert "where plain fine-tuning keeps 60.0%" in headline(gather(Layout(tmp_path), config))[0]
