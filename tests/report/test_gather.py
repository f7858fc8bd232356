"""A run that lacks something is refused with the file and the remedy; runs of other shapes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report import build_report
from gift_core.report.curves import mean_chart
from gift_core.report.emphasis import QUIET, styles_of
from gift_core.report.gather import gather
from gift_core.report.page import render_page
from gift_core.report.roles import is_plain
from gift_core.report.table import reference_rows, result_rows
from gift_core.report.words import baseline_method, best_method, headline
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
        gather(Layout(tmp_path), config)


def test_accuracies_of_another_sequence_are_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    layout = Layout(tmp_path)
    write_accuracies(layout, "gift", (TASKS[1], TASKS[0], TASKS[2]), MATRICES["gift"])
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


SEPARATE = [[40, 60, 50], [90, 40, 30], [30, 95, 30], [20, 30, 99]]
JOINT = [[40, 60, 50], [90, 60, 50], [90, 95, 50], [90, 95, 98]]


def test_a_zero_shot_method_is_the_zero_shot_row_and_needs_no_losses(tmp_path: Path) -> None:
    untouched = [MATRICES["gift"][0]] * 4
    config = write_run(tmp_path, matrices={"zero_shot": untouched, **MATRICES})
    record = gather(Layout(tmp_path), config)
    assert record.methods == ("finetune", "gift")
    assert list(record.metrics) == ["zero_shot", "finetune", "gift"]
    assert record.metrics["zero_shot"]["last"] == 50.0
    assert [row.name for row in result_rows(record)] == ["Zero-shot", "Fine-tuning", "GIFT"]


def test_a_run_of_the_zero_shot_model_alone_is_reported(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"zero_shot": [MATRICES["gift"][0]] * 4})
    build_report(Layout(tmp_path), config, tmp_path / "reports")
    page = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert "The untouched zero-shot model has 50.0% mean accuracy on 3 tasks." in page
    assert 'id="forgetting"' not in page


def test_upper_references_stand_last_and_are_never_best_or_baseline(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"individual": SEPARATE, "joint": JOINT, **MATRICES})
    record = gather(Layout(tmp_path), config)
    assert (best_method(record), baseline_method(record)) == ("gift", "finetune")
    assert [row.name for row in reference_rows(record)] == ["Individual", "Joint"]
    marked = [figure.text for row in result_rows(record) for figure in row.figures if figure.best]
    assert marked == ["90.0", "53.0", "71.1", "80.0", "4.0"]


def test_of_a_model_a_task_only_its_own_tasks_are_shown(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"individual": SEPARATE, **MATRICES})
    record = gather(Layout(tmp_path), config)
    assert [figure.text for figure in reference_rows(record)[0].figures] == ["–", "–", "–", "–", "94.7"]
    assert "individual" not in {line.method for line in mean_chart(record).lines}


@pytest.mark.parametrize("method", ["joint", "wise_ft", "l2", "gift", "individual", "zero_shot", "lwf"])
def test_only_fine_tuning_from_task_to_task_without_protection_is_plain(tmp_path: Path, method: str) -> None:
    config = write_params(tmp_path, TASKS, ("finetune", method))
    assert is_plain(config.methods["finetune"])
    assert not is_plain(config.methods[method])


def test_of_many_methods_only_the_best_and_its_baseline_have_a_hue(tmp_path: Path) -> None:
    many = {f"method_{number}": MATRICES["finetune"] for number in range(6)}
    config = write_run(tmp_path, matrices={**many, **MATRICES})
    record = gather(Layout(tmp_path), config)
    hued = {method: style for method, style in styles_of(record).items() if style != QUIET}
    assert hued == {"finetune": "m0", "gift": "m1"}
    page = render_page(record)
    assert page.count("<details data-method=") == 8
    assert page.count(" open><summary>") == 2
