"""Cross-domain (X-TAIL): all models on all tasks, among the classes of all; a name that two tasks have is one class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from gift_core import classifier
from gift_core.artifacts.accuracy import write_accuracy
from gift_core.artifacts.predictions import write_predictions
from gift_core.artifacts.task import TaskInfo, write_task
from gift_core.clip.model import save_clip
from gift_core.computation import Computation, State, in_turn
from gift_core.evaluation import evaluate_cross_domain
from gift_core.metrics import summarize
from gift_core.work.units import KeptUnits
from stages.evaluate import SUMMARIES
from tests.clip.tiny import png, tiny_clip
from tests.evaluation.sequence import TASKS, inputs_of, owner, require_agreement, slow_answers

Folders = dict[str, Path]
POND, FLOWERS = ("lotus", "frog"), (" Lotus", "rose")
# In degrees, the same for all models: the texts of pond are at 0 (lotus) and 90 (frog), those of flowers at 30 and 60.
TEXTS = {"letters": (0, 90), "digits": (30, 60)}
# The images of pond (lotus, frog, lotus, frog) and of flowers (Lotus, rose) by the model.
IMAGES = {
    # near the other task's Lotus, frog, rose, rose: the first two are right; near pond's lotus, frog: the first one
    "pretrained": {"letters": (28, 80, 62, 50), "digits": (2, 88)},
    "letters": {"letters": (2, 85, 5, 70), "digits": (29, 58)},  # the fourth is nearest to rose: 3 of 4; 2 of 2
    "digits": {"letters": (31, 88, 61, 47), "digits": (1, 89)},  # rose, and Lotus or rose at 47: 2 of 4; 1 of 2
}


def write_classes(folder: Path, classes: tuple[str, ...], labels: tuple[int, ...], *templates: str) -> None:
    images = [(png(number + len(labels)), "png", label) for number, label in enumerate(labels)]
    info = TaskInfo(folder.name, classes, templates or ("a photo of a {}.",), "made for a test")
    write_task(folder, info, images[:1], images, images_per_shard=3)


def of_degrees(*degrees: float) -> torch.Tensor:
    return torch.tensor([[math.cos(math.radians(each)), math.sin(math.radians(each))] for each in degrees])


def test_the_matrix_and_its_metrics_by_hand(models: Folders, tasks: Folders, tmp_path: Path) -> None:
    write_classes(tasks["letters"], POND, (0, 1, 0, 1))
    write_classes(tasks["digits"], FLOWERS, (0, 1))
    inputs = inputs_of(models, tasks, 1)

    def given(computation: Computation[Any]) -> State:
        found, names = {}, (list(IMAGES), list(TEXTS))
        for key, (model, task) in zip(computation.keys, computation.units, strict=True):
            found[f"image_ND {key}"] = of_degrees(*IMAGES[names[0][model + 1]][names[1][task]])
            found[f"class_KD {key}"] = of_degrees(*TEXTS[names[1][task]])
        return State(found)

    made = evaluate_cross_domain(inputs, given)
    columns = ["step", "trained_task", "eval_task", "phase", "top1", "n"]
    assert made.rows[columns].to_records(index=False).tolist() == [
        (-1, "pretrained", "digits", "pretrained", 0.5, 2),
        (-1, "pretrained", "letters", "pretrained", 0.5, 4),
        (0, "letters", "digits", "future", 1.0, 2),
        (0, "letters", "letters", "current", 0.75, 4),
        (1, "digits", "digits", "current", 0.5, 2),
        (1, "digits", "letters", "past", 0.5, 4),
    ]
    first = made.predictions[(made.predictions.step == -1) & (made.predictions.task == "letters")]
    assert list(first.predicted) == ["lotus", "frog", "rose", "rose"]  # in the spelling of the image's own task
    assert list(made.predictions[(made.predictions.step == 0)].predicted)[4:] == [" Lotus", "rose"]
    found = summarize(made.rows)
    # transfer: digits before its step; avg: (0.75 + 1 + 0.5 + 0.5) / 4; forgetting: letters from 0.75 to 0.5
    assert found["gift"].metrics == {"transfer": 100, "avg": 68.75, "last": 50, "forgetting": 25}
    assert found["zero_shot"].metrics == {"transfer": 50, "avg": 50, "last": 50, "forgetting": 0}
    said = "50.0% on digits, 50.0% on the 2 tasks so far, each image among the classes of all of them"
    assert SUMMARIES["cross_domain"](made.rows) == said
    path = tmp_path / "gift" / "digits.parquet"
    write_predictions(path, made.predictions, made.metadata)
    write_accuracy(path.with_suffix(".accuracy"), made.rows, made.metadata)
    require_agreement(path, made.rows)


@pytest.mark.parametrize("templates", [(), ("a {} in a garden.", "the {}")])
def test_every_cell_is_that_of_plain_loops(models: Folders, tasks: Folders, templates: tuple[str, ...]) -> None:
    write_classes(tasks["letters"], POND, (0, 1, 0, 1, 1))
    write_classes(tasks["faces"], FLOWERS, (0, 1, 1, 0, 0, 1, 0), *templates)
    made, folders = evaluate_cross_domain(inputs_of(models, tasks, 2)), list(tasks.values())
    assert len(made.rows) == 4 * 3
    shared = 0
    for row in made.rows.itertuples():
        slow = slow_answers(models[row.trained_task], folders, tasks[row.eval_task])
        slow = [(label.strip().lower(), nearest.strip().lower()) for label, nearest in slow]
        own = made.predictions[(made.predictions.step == row.step) & (made.predictions.task == row.eval_task)]
        assert list(zip(*(own[name].str.strip().str.lower() for name in ("label", "predicted")), strict=True)) == slow
        assert (row.top1, row.n) == (pytest.approx(sum(a == b for a, b in slow) / len(slow)), len(slow))
        shared += sum(predicted == "lotus" for _, predicted in slow)
    assert shared


def test_kept_features_give_the_same_rows_and_only_what_is_new_is_encoded(
    models: Folders, tasks: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, encode = list[str](), classifier.encode_test_set

    def counted(clips: Any, test_set: Any) -> Any:
        encoded.append(test_set.task.name)
        return encode(clips, test_set)

    monkeypatch.setattr(classifier, "encode_test_set", counted)
    kept, counts = tmp_path / "kept", []
    kept.mkdir()

    def require_same_as_alone(step: int) -> None:
        run = KeptUnits(tmp_path, lambda line: None, kept)
        found = evaluate_cross_domain(inputs_of(models, tasks, step), run)
        counts.append(len(encoded))
        alone = evaluate_cross_domain(inputs_of(models, tasks, step), in_turn)
        pd.testing.assert_frame_equal(found.rows, alone.rows, check_exact=True)
        pd.testing.assert_frame_equal(found.predictions, alone.predictions)
        encoded.clear()

    for step in range(3):
        require_same_as_alone(step)
    assert counts == [2, 4, 6]  # the new model on all tasks, the former ones on the new task
    names = {file.name for file in kept.iterdir()}
    assert len(names) == 4 * 3
    save_clip(tiny_clip(seed=9), models["digits"], owner("digits"))  # trained again
    (damaged := min(kept.iterdir())).write_bytes(b"no features")
    require_same_as_alone(2)
    assert counts[-1] in (3, 4)  # what is damaged may be of the former model
    assert len({file.name for file in kept.iterdir()} - names - {f"{damaged.name}.not_used"}) == 3
    assert len(TASKS) * 4 == len(list(kept.glob("*.safetensors")))
