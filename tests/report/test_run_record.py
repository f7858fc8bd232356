"""Reading a run: what is missing or does not fit is refused with the file and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.accuracy_tables import result_rows
from gift_core.report.page import render_page
from gift_core.report.run_record import is_plain_finetuning, read_run
from tests.report.run_folder import (
    MATRICES,
    TASKS,
    build,
    change_accuracies,
    write_params,
    write_run,
)

Damage = Callable[[Path], object]
REFUSED: dict[str, tuple[Damage, str]] = {
    "no accuracies": (
        lambda root: (root / "data/6_accuracy/gift/textures.parquet").unlink(),
        r"6_accuracy/gift/textures\.parquet.*dvc repro evaluate",
    ),
    "no manifest": (lambda root: (root / "data/3_shards/zodiac/manifest.json").unlink(), "3_shards/zodiac"),
    "no row": (
        lambda root: change_accuracies(root, "gift", "zodiac", keep="step != 1 or eval_task != 'zodiac'"),
        "gift.*step 1 on zodiac",
    ),
    "different pre-trained models": (
        lambda root: change_accuracies(root, "gift", "zodiac", **{"model:pretrained": "f" * 64}),
        "finetune and gift .* different versions of model:pretrained",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_missing_or_does_not_fit_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    damage, message = REFUSED[name]
    config = write_run(tmp_path)
    damage(tmp_path)
    with pytest.raises(ContractError, match=message):
        build(tmp_path, config)
    assert not (tmp_path / "reports").exists()


def test_a_zero_shot_method_is_the_zero_shot_row_and_without_replay_no_pairs_are_needed(tmp_path: Path) -> None:
    zero_shot = [MATRICES["gift"][0]] * 4
    config = write_run(tmp_path, matrices={"zero_shot": zero_shot, "finetune": MATRICES["finetune"]})
    (Layout(tmp_path).shards("zodiac") / "manifest.json").unlink()
    record = read_run(Layout(tmp_path), config)
    assert record.methods == ("finetune",) and list(record.metrics) == ["zero_shot", "finetune"]
    assert record.metrics["zero_shot"]["last"] == 50.0
    assert [row.name for row in result_rows(record)] == ["Zero-shot", "Fine-tuning"]
    assert 'id="pairs"' not in render_page(record)


def test_only_fine_tuning_on_task_after_task_without_protection_is_plain(tmp_path: Path) -> None:
    others = ("joint", "wise_ft", "l2", "gift", "individual", "zero_shot", "lwf", "finetune_lora")
    methods = write_params(tmp_path, TASKS, ("finetune", *others)).methods
    assert [name for name in methods if is_plain_finetuning(methods[name])] == ["finetune"]
