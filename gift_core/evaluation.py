"""Top-1 accuracy, and the cells of the accuracy matrix that a step adds.  B images, K classes, D features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def evaluate_step(
    method: str,
    models: Mapping[str, Path],
    *,
    tasks: Mapping[str, Path],
    device: torch.device,
    precision: str,
    batch_size: int,
    previous: Mapping[str, str] | None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The accuracy rows that the last of `tasks` adds to the matrix, and what they were measured on.

    `tasks`: folder of each task up to this step, in the sequence's order. `models`: the folder of `pretrained`, then of
    the model after each of the tasks, in that order. `previous`: the metadata of the step before, None at the first.
    The rows are an L: the new model on every task so far (phase past or current), and every earlier model on the new
    task (phase future; pretrained for the model before any step, step -1). So the whole matrix grows without running
    a cell again. The metadata hold the hash of every model and task; ContractError where `previous` was measured on
    others.
    """
    names = list(tasks)
    assert list(models) == [PRETRAINED, *names], "models are pretrained and one after each task"
    metadata = measured_on(models, tasks)
    _require_same(previous or {}, metadata, method)
    newest = names[-1]
    clip = load_folder(models[newest], device=device, precision=precision)
    rows = []
    for task in names[:-1]:
        rows.append(_row(method, newest, names, evaluation_set(clip, tasks[task]), clip, batch_size))
    test = evaluation_set(clip, tasks[newest])
    rows.append(_row(method, newest, names, test, clip, batch_size))
    for model in progress(list(models)[:-1], len(models) - 1, f"earlier models on {newest}"):
        earlier = load_folder(models[model], device=device, precision=precision)
        rows.append(_row(method, model, names, test, earlier, batch_size))
    return pd.DataFrame(rows).sort_values(["step", "eval_task"], kind="stable", ignore_index=True), metadata


def measured_on(models: Mapping[str, Path], tasks: Mapping[str, Path]) -> dict[str, str]:
    """{"model:<name>": sha256 of its weights, "task:<name>": sha256 of its task.json, which vouches for its shards}."""
    hashes = {f"model:{name}": model_hash(folder) for name, folder in models.items()}
    return {**hashes, **{f"task:{name}": sha256_of(folder / "task.json") for name, folder in tasks.items()}}


def _row(
    method: str, model: str, names: list[str], test: EvaluationSet, clip: Clip, batch_size: int
) -> dict[str, str | int | float]:
    step = names.index(model) if model in names else -1
    evaluated = names.index(test.task.name)
    phase = "past" if evaluated < step else "current" if evaluated == step else "future"
    return {
        "method": method,
        "step": step,
        "trained_task": model,
        "eval_task": test.task.name,
        "phase": PRETRAINED if model == PRETRAINED else phase,
        "top1": top1(clip, test, batch_size=batch_size),
        "n": len(test.labels_N),
    }


def _require_same(previous: Mapping[str, str], current: Mapping[str, str], method: str) -> None:
    changed = [key for key, value in previous.items() if key in current and current[key] != value]
    if changed:
        raise ContractError(
            f"accuracy of {method} at the step before was measured on another {', '.join(sorted(changed))}. "
            "Run stage evaluate for that step again."
        )
