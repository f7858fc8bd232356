"""Top-1, and the L of cells that a step adds to the accuracy matrix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.task import TaskInfo, write_task
from gift_core.clip.saving import save_clip
from gift_core.errors import ContractError
from gift_core.evaluation import evaluate_step, evaluation_set, top1
from tests.clip.tiny import png, tiny_clip

TASKS = ("letters", "digits", "faces")


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, Path]:
    """Three tasks of two classes, 4, 5 and 6 test images."""
    folders = {}
    for number, name in enumerate(TASKS):
        folders[name] = tmp_path / "tasks" / name
        info = TaskInfo(name, (f"{name} one", f"{name} two"), ("a {}.", "the {}"), "made for a test")
        images = [(png(10 * number + row), "png", row % 2) for row in range(4 + number)]
        write_task(folders[name], info, images[:2], images, images_per_shard=3)
    return folders


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Four models with different weights."""
    folders = {}
    for seed, name in enumerate(("pretrained", *TASKS)):
        folders[name] = tmp_path / "models" / name
        save_clip(tiny_clip(seed=seed), folders[name], {})
    return folders


def measure(models: dict[str, Path], tasks: dict[str, Path], step: int, previous: dict[str, str] | None = None):
    names = TASKS[: step + 1]
    return evaluate_step(
        "gift",
        {name: models[name] for name in ("pretrained", *names)},
        tasks={name: tasks[name] for name in names},
        device=torch.device("cpu"),
        precision="fp32",
        batch_size=4,
        previous=previous,
    )


def test_top1_counts_images_whose_nearest_class_is_their_own(tasks: dict[str, Path]) -> None:
    clip = tiny_clip()
    test = evaluation_set(clip, tasks["digits"])
    guess = top1(clip, test, batch_size=2)
    assert guess in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    swapped = type(test)(test.task, test.pixels_NCHW, 1 - test.labels_N)
    assert top1(clip, swapped, batch_size=2) == pytest.approx(1 - guess)


def test_the_first_step_measures_its_model_and_the_pretrained_one(
    models: dict[str, Path], tasks: dict[str, Path]
) -> None:
    rows, _ = measure(models, tasks, 0)
    cells = rows[["step", "trained_task", "eval_task", "phase", "n"]].to_records(index=False).tolist()
    assert cells == [(-1, "pretrained", "letters", "pretrained", 4), (0, "letters", "letters", "current", 4)]


def test_a_later_step_adds_an_l_its_row_and_its_column(models: dict[str, Path], tasks: dict[str, Path]) -> None:
    rows, _ = measure(models, tasks, 2)
    cells = rows[["step", "trained_task", "eval_task", "phase", "n"]].to_records(index=False).tolist()
    assert cells == [
        (-1, "pretrained", "faces", "pretrained", 6),
        (0, "letters", "faces", "future", 6),
        (1, "digits", "faces", "future", 6),
        (2, "faces", "digits", "past", 5),
        (2, "faces", "faces", "current", 6),
        (2, "faces", "letters", "past", 4),
    ]


def test_all_steps_together_are_the_whole_matrix_once(models: dict[str, Path], tasks: dict[str, Path]) -> None:
    cells = [tuple(cell) for step in range(3) for cell in measure(models, tasks, step)[0][["step", "eval_task"]].values]
    assert len(cells) == len(set(cells)) == 4 * 3


def test_rows_satisfy_the_artifacts_contract(models: dict[str, Path], tasks: dict[str, Path], tmp_path: Path) -> None:
    rows, metadata = measure(models, tasks, 1)
    write_accuracy(tmp_path / "accuracy.parquet", rows, metadata)
    again, again_metadata = read_accuracy(tmp_path / "accuracy.parquet")
    assert len(again) == len(rows) == 4
    assert again_metadata.items() >= metadata.items()


def test_metadata_name_every_model_and_task(models: dict[str, Path], tasks: dict[str, Path]) -> None:
    _, metadata = measure(models, tasks, 1)
    expected = ["model:pretrained", "model:letters", "model:digits", "task:letters", "task:digits"]
    assert list(metadata) == expected
    assert len(set(metadata.values())) == 5 and all(len(value) == 64 for value in metadata.values())


def test_a_chain_measured_on_another_model_is_refused(models: dict[str, Path], tasks: dict[str, Path]) -> None:
    _, previous = measure(models, tasks, 0)
    measure(models, tasks, 1, previous)
    save_clip(tiny_clip(seed=9), models["letters"], {})
    with pytest.raises(ContractError, match="measured on another model:letters"):
        measure(models, tasks, 1, previous)
