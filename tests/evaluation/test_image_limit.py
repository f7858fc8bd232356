"""A limit of the test images: the same images for every model, step, method and protocol, with the same predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from gift_core.artifacts.accuracy import write_accuracy
from gift_core.artifacts.predictions import read_predictions, require_agreement, write_predictions
from gift_core.artifacts.task import iterate_task
from gift_core.clip.test_set import ImageLimit, choose_images
from gift_core.computation import in_turn
from gift_core.errors import ContractError
from gift_core.evaluation import PROTOCOLS, own_model
from gift_core.seeds import seed_for
from tests.evaluation.sequence import TASKS, inputs_of

Folders = dict[str, Path]
LIMIT = ImageLimit(max_images=4, seed=7)  # letters has 4 test images, digits 5, faces 6


def chosen_images(tasks: Folders) -> set[tuple[str, int]]:
    """(task, position) of the images that the limit leaves."""
    found = set()
    for name in TASKS:
        labels = [label for _, label in iterate_task(tasks[name], "test")]
        found |= {(name, at) for at in choose_images(labels, 4, seed=seed_for("test images", 7, name))}
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_accuracies_and_predictions_are_those_of_the_chosen_images(
    models: Folders, tasks: Folders, tmp_path: Path, protocol: str
) -> None:
    whole = PROTOCOLS[protocol](inputs_of(models, tasks, 2), in_turn)
    made = PROTOCOLS[protocol](inputs_of(models, tasks, 2, limit=LIMIT), in_turn)
    chosen = chosen_images(tasks)
    kept = [each in chosen for each in zip(whole.predictions.task, whole.predictions.image, strict=True)]
    expected = whole.predictions[kept].reset_index(drop=True)
    pd.testing.assert_frame_equal(made.predictions, expected)
    assert len(expected) < len(whole.predictions)
    for row in made.rows.itertuples():
        of_row = expected[expected.step == row.step]
        if protocol == "task_incremental":
            of_row = of_row[of_row.task == row.eval_task]
        assert row.n == len(of_row) == (4 if protocol == "task_incremental" else 12)
        assert row.top1 == pytest.approx((of_row.label == of_row.predicted).mean())
    assert made.metadata == {**whole.metadata, "max_images": "4"}
    path = tmp_path / "gift" / "faces.parquet"
    write_accuracy(path, made.rows, made.metadata)
    write_predictions(path, made.predictions, made.metadata)
    require_agreement(path, read_predictions(path), (made.rows, made.metadata))


def test_every_step_and_method_is_tested_on_the_same_images(models: Folders, tasks: Folders) -> None:
    evaluate, chosen = PROTOCOLS["task_incremental"], chosen_images(tasks)
    inputs = [inputs_of(models, tasks, step, limit=LIMIT) for step in range(3)]
    inputs.append(replace(inputs[-1], method="individual", model_for=own_model))
    tested = [evaluate(each, in_turn).predictions for each in inputs]
    for rows, names in zip(tested, (TASKS[:1], TASKS[:2], TASKS, TASKS), strict=True):
        assert set(zip(rows.task, rows.image, strict=True)) == {each for each in chosen if each[0] in names}


@pytest.mark.parametrize(("before", "now"), [(None, LIMIT), (LIMIT, None), (LIMIT, ImageLimit(3, 7))])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_chain_with_another_limit_is_refused(
    models: Folders, tasks: Folders, protocol: str, before: ImageLimit | None, now: ImageLimit | None
) -> None:
    evaluate = PROTOCOLS[protocol]
    start = {"model:pretrained": evaluate(inputs_of(models, tasks, 0), in_turn).metadata["model:pretrained"]}
    first = evaluate(inputs_of(models, tasks, 0, limit=before, previous=start), in_turn)
    with pytest.raises(ContractError, match="measured on another max_images. Run stage evaluate for that step again"):
        evaluate(inputs_of(models, tasks, 1, limit=now, previous=first.metadata), in_turn)
    evaluate(inputs_of(models, tasks, 1, limit=before, previous=first.metadata), in_turn)
