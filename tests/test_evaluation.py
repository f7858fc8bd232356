"""Top-1, and the L of cells that a step adds to the accuracy matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gift_core import evaluation
from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.task import TaskInfo, write_task
from gift_core.clip.model import Clip
from gift_core.clip.saving import save_clip
from gift_core.errors import ContractError
from gift_core.evaluation import EvaluationSet, evaluate_step, evaluation_set, newest_model, own_model, top1
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


def measure(
    models: dict[str, Path],
    tasks: dict[str, Path],
    step: int,
    previous: dict[str, str] | None = None,
    answering: Callable[[int, int], int] = newest_model,
):
    names = TASKS[: step + 1]
    return evaluate_step(
        "gift",
        {name: models[name] for name in ("pretrained", *names)},
        tasks={name: tasks[name] for name in names},
        answering=answering,
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


IMAGES = {"letters": 4, "digits": 5, "faces": 6}


def mark(clip: Clip) -> torch.Tensor:
    """A weight by which these tests tell models apart."""
    return clip.model.get_parameter("visual.class_embedding").data[:1]


@pytest.fixture
def signed_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Four models whose accuracy says whose it is: tenths for the model, hundredths for the images of the task."""
    folders = {}
    for number, name in enumerate(("pretrained", *TASKS)):
        clip = tiny_clip()
        mark(clip).fill_(number / 10)
        folders[name] = tmp_path / "signed" / name
        save_clip(clip, folders[name], {})

    def signature(clip: Clip, test: EvaluationSet, *, batch_size: int) -> float:
        return mark(clip).item() + len(test.labels_N) / 100

    monkeypatch.setattr(evaluation, "top1", signature)
    return folders


# The model that answers for letters, digits and faces, before any step (-1) and after each.
NEWEST = {step: [name] * 3 for step, name in enumerate(("pretrained", *TASKS), -1)}
OWN = {
    -1: ["pretrained", "pretrained", "pretrained"],
    0: ["letters", "pretrained", "pretrained"],
    1: ["letters", "digits", "pretrained"],
    2: ["letters", "digits", "faces"],
}


@pytest.mark.parametrize(("answering", "answers"), [(newest_model, NEWEST), (own_model, OWN)])
def test_a_cell_is_answered_by_the_model_whose_turn_it_is(
    signed_models: dict[str, Path],
    tasks: dict[str, Path],
    answering: Callable[[int, int], int],
    answers: dict[int, list[str]],
) -> None:
    """Of a store with a model a task: the past by the task's own model, the future by the pre-trained one."""
    cells = {
        (row.step, row.eval_task): row.top1
        for step in range(3)
        for row in measure(signed_models, tasks, step, answering=answering)[0].itertuples()
    }
    numbers = {name: number for number, name in enumerate(("pretrained", *TASKS))}
    assert cells == {
        (step, task): pytest.approx(numbers[model] / 10 + IMAGES[task] / 100)
        for step, row in answers.items()
        for model, task in zip(row, TASKS, strict=True)
    }


def test_the_newest_model_answers_where_nothing_else_is_said(
    signed_models: dict[str, Path], tasks: dict[str, Path]
) -> None:
    rows, _ = evaluate_step(
        "gift",
        {name: signed_models[name] for name in ("pretrained", "letters", "digits")},
        tasks={name: tasks[name] for name in ("letters", "digits")},
        device=torch.device("cpu"),
        precision="fp32",
        batch_size=4,
        previous=None,
    )
    past = rows[rows.phase == "past"]
    assert past.top1.tolist() == pytest.approx([0.24])
