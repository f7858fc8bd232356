"""Task-incremental: the L of cells that a step adds to the accuracy matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.clip.model import Clip, save_clip
from gift_core.errors import ContractError
from gift_core.evaluation import newest_model, own_model, task_incremental
from gift_core.evaluation.chain import Measured
from gift_core.evaluation.streaming import HeldOut
from gift_core.evaluation.task_incremental import evaluate_matrix, matrix_in_words
from tests.clip.tiny import tiny_clip
from tests.evaluation.sequence import TASKS, cell_of


def measure(
    models: dict[str, Path],
    tasks: dict[str, Path],
    step: int,
    previous: dict[str, str] | None = None,
    answering: Callable[[int, int], int] = newest_model,
) -> Measured:
    return evaluate_matrix(cell_of(models, tasks, step, previous=previous, answering=answering))


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

    def signature(clip: Clip, images: HeldOut) -> float:
        return mark(clip).item() + len(images) / 100

    monkeypatch.setattr(task_incremental, "top1", signature)
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


def test_the_step_in_words_is_its_own_row(models: dict[str, Path], tasks: dict[str, Path]) -> None:
    rows, _ = measure(models, tasks, 1)
    digits, letters = rows[rows.step == 1].top1
    both = f"{digits:.1%} on digits, {(digits + letters) / 2:.1%} on the 2 tasks so far"
    assert matrix_in_words(rows) == both
