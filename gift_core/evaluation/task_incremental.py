"""Task-incremental: the cells of the accuracy matrix that a step adds, an L (docs/decisions/0001).  K classes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gift_core.clip.encoding import class_features
from gift_core.clip.images import CACHE_BYTES, CacheBudget
from gift_core.clip.model import Clip
from gift_core.evaluation.chain import (
    EvaluationCell,
    Measured,
    Row,
    measured_on,
    require_same,
    row_of,
    share_correct,
)
from gift_core.evaluation.streaming import HeldOut, encode_held_out
from gift_core.progress import progress


def newest_model(step: int, evaluated: int) -> int:
    """Which model answers for task `evaluated` after `step`: the newest. Both count from 0; -1 is the pre-trained."""
    return step


def own_model(step: int, evaluated: int) -> int:
    """The task's own model once it is there, the pre-trained one before: what a store with a model a task does."""
    return evaluated if evaluated <= step else -1


def evaluate_matrix(cell: EvaluationCell) -> Measured:
    """The accuracy rows that the step adds to the matrix, and what they were measured on.

    The rows are an L: this step on every task so far (phase past or current), and every earlier step on the new task
    (phase future; pretrained for the model before any step, step -1). So the whole matrix grows without running a cell
    again. The metadata hold the hash of every model and task; ContractError where the step before was measured on
    others.
    """
    metadata = measured_on(cell.models, cell.tasks)
    require_same(cell.previous, metadata, cell.method)
    last, names = cell.last, list(cell.tasks)
    places = [(last, task) for task in range(last + 1)] + [(step, last) for step in range(-1, last)]
    accuracies = _Accuracies(cell)
    rows = [
        _row(cell.method, names, step, task, *accuracies.of(cell.answering(step, task), task))
        for step, task in progress(places, len(places), "accuracies")
    ]
    return pd.DataFrame(rows).sort_values(["step", "eval_task"], kind="stable", ignore_index=True), metadata


def matrix_in_words(rows: pd.DataFrame) -> str:
    """The row of the step's own model: the new task, and all tasks so far."""
    own = rows[rows.step == rows.step.max()]
    current = own[own.phase == "current"].iloc[0]
    return f"{current.top1:.1%} on {current.eval_task}, {own.top1.mean():.1%} on the {len(own)} tasks so far"


class _Accuracies:
    """Top-1 of models on tasks, each pair measured once.

    The model and the test images used last are kept; so the last task's images, which every model sees, are decoded
    once as far as KEPT_BYTES reach.
    """

    def __init__(self, cell: EvaluationCell) -> None:
        self._models, self._tasks = list(cell.models.values()), list(cell.tasks.values())
        self._encoding = cell.encoding
        self._clip: tuple[int, Clip] | None = None
        self._images: tuple[int, HeldOut] | None = None
        self._known: dict[tuple[int, int], tuple[float, int]] = {}

    def of(self, model: int, task: int) -> tuple[float, int]:
        """(top1 of 0-1, test images)."""
        if (model, task) not in self._known:
            images = self._held_out(task)
            self._known[model, task] = top1(self._load(model), images), len(images)
        return self._known[model, task]

    def _load(self, model: int) -> Clip:
        if self._clip is None or self._clip[0] != model:
            self._clip = None  # two models at once would need twice the memory
            self._clip = model, self._encoding.load(self._models[model + 1])
        return self._clip[1]

    def _held_out(self, task: int) -> HeldOut:
        if self._images is None or self._images[0] != task:
            cache_budget = CacheBudget(CACHE_BYTES if task == len(self._tasks) - 1 else 0)
            images = HeldOut(self._tasks[task], batch_size=self._encoding.batch_size, cache_budget=cache_budget)
            self._images = task, images
        return self._images[1]


def top1(clip: Clip, images: HeldOut) -> float:
    """Share (0-1) of the test images whose nearest class is their own.

    A class's feature is averaged over all the task's templates (clip.zero_shot.class_features).
    """
    task = images.task
    class_KD = class_features(clip, task.class_names, task.templates, batch_size=images.batch_size)
    (image_ND,) = encode_held_out([clip], images)
    return share_correct(image_ND, class_KD, images.labels_N)


def _row(method: str, names: Sequence[str], step: int, evaluated: int, accuracy: float, images: int) -> Row:
    phase = "past" if evaluated < step else "current" if evaluated == step else "future"
    return row_of(
        method,
        step=step,
        trained_task=names[step],
        eval_task=names[evaluated],
        phase=phase,
        top1=accuracy,
        images=images,
    )
