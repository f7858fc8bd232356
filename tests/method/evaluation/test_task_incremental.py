"""Task-incremental: the L that a step adds to the accuracy matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from gift_core.artifacts.accuracy import read_accuracy, read_probe, write_accuracy
from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.predictions import write_predictions
from gift_core.clip import task_tests
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import Clip, load_folder
from gift_core.clip.test_set import TestSet, nearest_classes
from gift_core.method.evaluation import (
    Measurement,
    evaluate_probe,
    evaluate_task_incremental,
    newest_model,
    own_model,
    with_probes,
)
from stages.evaluate import summarize_task_incremental
from tests.method.evaluation.sequence import TASKS, inputs_of, require_agreement

Folders = dict[str, Path]


def measure(models: Folders, tasks: Folders, step: int, **options: Any) -> Measurement:
    return evaluate_task_incremental(inputs_of(models, tasks, step, **options))


def test_a_step_adds_an_l_its_row_and_its_column_and_all_are_the_whole_matrix(models: Folders, tasks: Folders) -> None:
    steps = [measure(models, tasks, step).rows for step in range(3)]
    columns = ["step", "trained_task", "eval_task", "phase", "n"]
    in_short = [rows[columns].to_records(index=False).tolist() for rows in steps]
    assert in_short[0] == [(-1, "pretrained", "letters", "pretrained", 4), (0, "letters", "letters", "current", 4)]
    assert in_short[2] == [
        (-1, "pretrained", "faces", "pretrained", 6),
        (0, "letters", "faces", "future", 6),
        (1, "digits", "faces", "future", 6),
        (2, "faces", "digits", "past", 5),
        (2, "faces", "faces", "current", 6),
        (2, "faces", "letters", "past", 4),
    ]
    rows = pd.concat(steps)
    assert len(rows) == len(rows[["step", "eval_task"]].drop_duplicates()) == 4 * 3


def test_accuracies_and_predictions_satisfy_the_contract(models: Folders, tasks: Folders, tmp_path: Path) -> None:
    made, path = measure(models, tasks, 1), tmp_path / "gift" / "digits.parquet"
    write_accuracy(path, made.rows, made.metadata)
    again, again_metadata = read_accuracy(path)
    assert len(again) == len(made.rows) == 4
    assert again_metadata.items() >= made.metadata.items()
    write_predictions(path, made.predictions, made.metadata)
    require_agreement(path, made.rows)
    of_digits = made.predictions[(made.predictions.step == 0) & (made.predictions.task == "digits")]
    assert list(of_digits.label) == [f"digits {name}" for name in ("one", "two", "one", "two", "one")]
    images = TestSet(tasks["digits"], batch_size=2, cache_budget=CacheBudget(0))
    clip = load_folder(models["letters"], device=torch.device("cpu"), precision="fp32")
    nearest = nearest_classes(clip, images).tolist()
    assert list(of_digits.predicted) == [images.task.class_names[number] for number in nearest]
    digits, letters = made.rows[made.rows.step == 1].top1
    both = f"{digits:.1%} on digits, {(digits + letters) / 2:.1%} on the 2 tasks so far"
    assert summarize_task_incremental(made.rows) == both


MODELS = ("pretrained", *TASKS)
# The model that classifies letters, digits and faces after each step.
NEWEST = [[name] * 3 for name in TASKS]
OWN = [["letters", "pretrained", "pretrained"], ["letters", "digits", "pretrained"], list(TASKS)]


def count_models(models: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a model classify as many images correctly as models came before it."""
    weights = {
        name: load_file(models[name] / "open_clip_model.safetensors")["visual.class_embedding"] for name in MODELS
    }

    def signature(clip: Clip, images: TestSet) -> torch.Tensor:
        own, labels_N = clip.model.get_parameter("visual.class_embedding").data, images.labels_N
        number = next(number for number, name in enumerate(MODELS) if torch.equal(weights[name], own))
        return torch.where(torch.arange(len(labels_N)) < number, labels_N, 1 - labels_N)

    monkeypatch.setattr(task_tests, "nearest_classes", signature)


@pytest.mark.parametrize(("model_for", "models_of"), [(newest_model, NEWEST), (own_model, OWN)])
def test_each_task_is_classified_by_the_model_that_the_method_has_for_it(
    model_for: Callable[[int, int], int],
    models_of: list[list[str]],
    models: Folders,
    tasks: Folders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one model per task, past tasks have their own model, and future tasks the pre-trained one.

    A model's accuracy says whose it is here: as many images are correct as models came before it.
    """
    count_models(models, monkeypatch)
    rows = pd.concat([measure(models, tasks, step, model_for=model_for).rows for step in range(3)])
    expected = {
        (step, task): MODELS.index(name) / (4 + TASKS.index(task))  # letters has 4 images, digits 5, faces 6
        for step, names in enumerate([["pretrained"] * 3, *models_of], -1)
        for task, name in zip(TASKS, names, strict=True)
    }
    assert {(row.step, row.eval_task): row.top1 for row in rows.itertuples()} == pytest.approx(expected)


@pytest.mark.parametrize(("model_for", "of_steps"), [(newest_model, [1 / 6, 2 / 6]), (own_model, [0.5, 0.5])])
def test_a_probe_is_tested_by_the_newest_model_and_by_the_pretrained_one_where_each_task_has_its_own(
    model_for: Callable[[int, int], int],
    of_steps: list[float],
    models: Folders,
    tasks: Folders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count_models(models, monkeypatch)
    made = []
    for step in range(2):
        inputs = inputs_of(models, tasks, step, model_for=model_for, probe="faces")
        made.append(with_probes(evaluate_task_incremental(inputs), inputs))
    rows = pd.concat(each.rows for each in made)
    probes = rows[rows.phase == "probe"]
    assert dict(zip(probes.step, probes.trained_task, strict=True)) == {-1: "pretrained", 0: "letters", 1: "digits"}
    assert list(probes.top1) == pytest.approx([0.5, *of_steps])
    assert set(probes.eval_task) == {"faces"} and set(probes.n) == {6} and set(probes.method) == {"gift"}
    assert "faces" not in set(made[1].predictions.task)
    assert made[1].metadata["probe:faces"] == sha256_of(tasks["faces"] / "task.json")
    path = tmp_path / "gift" / "digits.parquet"
    write_accuracy(path, made[1].rows, made[1].metadata)
    write_predictions(path.with_suffix(".predictions"), made[1].predictions, made[1].metadata)
    require_agreement(path.with_suffix(".predictions"), made[1].rows)


def test_the_row_of_the_pretrained_model_on_a_probe_is_read_as_it_was_written(
    models: Folders, tasks: Folders, tmp_path: Path
) -> None:
    settings = inputs_of(models, tasks, 0).settings
    measured, path = evaluate_probe(models["pretrained"], tasks["faces"], settings), tmp_path / "faces.parquet"
    images = settings.open(tasks["faces"], CacheBudget(0))
    write_accuracy(path, measured.rows, measured.metadata)
    top1 = task_tests.test_of(settings.load(models["pretrained"]), images).top1
    assert read_probe(path) == (pytest.approx(top1), 6)
