"""Top-1 accuracy, and the cells of the accuracy matrix that a step adds.  B images, K classes, D features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from gift_core.artifacts.atomic import sha256_of
from gift_core.artifacts.models import model_hash
from gift_core.artifacts.task import TaskInfo, iterate_task, read_task
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.loading import load_folder
from gift_core.clip.model import Clip
from gift_core.clip.zero_shot import class_features, image_features, predict
from gift_core.errors import ContractError
from gift_core.progress import progress

PRETRAINED = "pretrained"


@dataclass(frozen=True)
class EvaluationSet:
    """A task's test split under the evaluation transform, uint8 [N, 3, S, S], with its labels [N]."""

    task: TaskInfo
    pixels_NCHW: torch.Tensor
    labels_N: torch.Tensor


def evaluation_set(clip: Clip, folder: Path) -> EvaluationSet:
    """The test split of the task in `folder`, prepared for models that share `clip`'s preprocessing."""
    task = read_task(folder)
    labels: list[int] = []

    def images() -> Iterator[bytes]:
        for image, label in progress(iterate_task(folder, "test"), task.counts["test"], f"{task.name} images"):
            labels.append(label)
            yield image

    pixels_NCHW = evaluation_pixels(clip, images())
    return EvaluationSet(task, pixels_NCHW, torch.tensor(labels))


def top1(clip: Clip, test: EvaluationSet, *, batch_size: int) -> float:
    """Share (0-1) of the test images whose nearest class is their own.

    A class's feature is averaged over all the task's templates (clip.zero_shot.class_features).
    """
    class_KD = class_features(clip, test.task.class_names, test.task.templates, batch_size=batch_size)
    image_ND = image_features(clip, test.pixels_NCHW, batch_size=batch_size)
    return float((predict(image_ND, class_KD).cpu() == test.labels_N).double().mean())


def newest_model(step: int, evaluated: int) -> int:
    """Which model answers for task `evaluated` after `step`: the newest. Both count from 0; -1 is the pre-trained."""
    return step


def own_model(step: int, evaluated: int) -> int:
    """The task's own model once it is there, the pre-trained one before: what a store with a model a task does."""
    return evaluated if evaluated <= step else -1


def evaluate_step(
    method: str,
    models: Mapping[str, Path],
    *,
    tasks: Mapping[str, Path],
    answering: Callable[[int, int], int] = newest_model,
    device: torch.device,
    precision: str,
    batch_size: int,
    previous: Mapping[str, str] | None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The accuracy rows that the last of `tasks` adds to the matrix, and what they were measured on.

    `tasks`: folder of each task up to this step, in the sequence's order. `models`: the folder of `pretrained`, then of
    the model after each of the tasks, in that order. `previous`: the metadata of the step before, None at the first.
    The rows are an L: this step on every task so far (phase past or current), and every earlier step on the new task
    (phase future; pretrained for the model before any step, step -1). So the whole matrix grows without running a cell
    again. `answering` says which model answers in a cell. The metadata hold the hash of every model and task;
    ContractError where `previous` was measured on others.
    """
    names = list(tasks)
    assert list(models) == [PRETRAINED, *names], "models are pretrained and one after each task"
    metadata = measured_on(models, tasks)
    _require_same(previous or {}, metadata, method)
    last = len(names) - 1
    cells = [(last, task) for task in range(last + 1)] + [(step, last) for step in range(-1, last)]
    accuracies = _Accuracies(list(models.values()), list(tasks.values()), device, precision, batch_size)
    rows = [
        _row(method, names, step, task, *accuracies.of(answering(step, task), task))
        for step, task in progress(cells, len(cells), "accuracies")
    ]
    return pd.DataFrame(rows).sort_values(["step", "eval_task"], kind="stable", ignore_index=True), metadata


class _Accuracies:
    """top1 of models on tasks, each pair measured once; the model and the test images used last are kept."""

    def __init__(
        self, models: Sequence[Path], tasks: Sequence[Path], device: torch.device, precision: str, batch_size: int
    ) -> None:
        self._models, self._tasks, self._batch_size = models, tasks, batch_size
        self._device, self._precision = device, precision
        self._clip: tuple[int, Clip] | None = None
        self._test: tuple[int, EvaluationSet] | None = None
        self._known: dict[tuple[int, int], tuple[float, int]] = {}

    def of(self, model: int, task: int) -> tuple[float, int]:
        """(top1 of 0-1, test images)."""
        if (model, task) not in self._known:
            clip = self._load(model)
            test = self._test_set(clip, task)
            self._known[model, task] = top1(clip, test, batch_size=self._batch_size), len(test.labels_N)
        return self._known[model, task]

    def _load(self, model: int) -> Clip:
        if self._clip is None or self._clip[0] != model:
            self._clip = model, load_folder(self._models[model + 1], device=self._device, precision=self._precision)
        return self._clip[1]

    def _test_set(self, clip: Clip, task: int) -> EvaluationSet:
        if self._test is None or self._test[0] != task:
            self._test = task, evaluation_set(clip, self._tasks[task])
        return self._test[1]


def measured_on(models: Mapping[str, Path], tasks: Mapping[str, Path]) -> dict[str, str]:
    """{"model:<name>": sha256 of its weights, "task:<name>": sha256 of its task.json, which vouches for its shards}."""
    hashes = {f"model:{name}": model_hash(folder) for name, folder in models.items()}
    return {**hashes, **{f"task:{name}": sha256_of(folder / "task.json") for name, folder in tasks.items()}}


def _row(
    method: str, names: list[str], step: int, evaluated: int, accuracy: float, images: int
) -> dict[str, str | int | float]:
    phase = "past" if evaluated < step else "current" if evaluated == step else "future"
    return {
        "method": method,
        "step": step,
        "trained_task": names[step] if step >= 0 else PRETRAINED,
        "eval_task": names[evaluated],
        "phase": phase if step >= 0 else PRETRAINED,
        "top1": accuracy,
        "n": images,
    }


def _require_same(previous: Mapping[str, str], current: Mapping[str, str], method: str) -> None:
    changed = [key for key, value in previous.items() if key in current and current[key] != value]
    if changed:
        raise ContractError(
            f"accuracy of {method} at the step before was measured on another {', '.join(sorted(changed))}. "
            "Run stage evaluate for that step again."
        )
