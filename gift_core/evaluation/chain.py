"""What every evaluation shares: the cell, which models and tasks it was measured on, and its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from gift_core.artifacts.accuracy import PRETRAINED
from gift_core.artifacts.atomic import sha256_of
from gift_core.artifacts.models import model_hash
from gift_core.clip.encoding import predict
from gift_core.clip.model import Clip, load_folder
from gift_core.errors import ContractError

Row = dict[str, str | int | float]


@dataclass(frozen=True)
class Encoding:
    """How models are loaded and images encoded."""

    device: torch.device
    precision: str
    batch_size: int

    def load(self, folder: Path) -> Clip:
        """The model in `folder`."""
        return load_folder(folder, device=self.device, precision=self.precision)


@dataclass(frozen=True)
class EvaluationCell:
    """A method after a step, and all that its test needs.

    `tasks`: the folder of each task up to this step, in the sequence's order. `models`: the folder of `pretrained`,
    then of the model after each of the tasks, in that order. `answering` says which model answers for a task after a
    step (task_incremental.newest_model). `previous`: the metadata of the step before, empty at the first.
    """

    method: str
    models: Mapping[str, Path]
    tasks: Mapping[str, Path]
    answering: Callable[[int, int], int]
    encoding: Encoding
    previous: Mapping[str, str]

    def __post_init__(self) -> None:
        """One model for each task, and the one before any."""
        assert list(self.models) == [PRETRAINED, *self.tasks], "models are pretrained and one after each task"

    @property
    def last(self) -> int:
        """This step, which trained the last of the tasks; counts from 0."""
        return len(self.tasks) - 1


Measured = tuple[pd.DataFrame, dict[str, str]]  # rows of artifacts.accuracy, and what they were measured on


def measured_on(models: Mapping[str, Path], tasks: Mapping[str, Path]) -> dict[str, str]:
    """{"model:<name>": sha256 of its weights, "task:<name>": sha256 of its task.json, which vouches for its shards}."""
    hashes = {f"model:{name}": model_hash(folder) for name, folder in models.items()}
    return {**hashes, **{f"task:{name}": sha256_of(folder / "task.json") for name, folder in tasks.items()}}


def require_same(previous: Mapping[str, str], current: Mapping[str, str], method: str) -> None:
    """Raises ContractError where the step before was measured on another version of a model or task of `current`."""
    changed = [key for key, value in previous.items() if key in current and current[key] != value]
    if changed:
        raise ContractError(
            f"accuracy of {method} at the step before was measured on another {', '.join(sorted(changed))}. "
            "Run stage evaluate for that step again."
        )


def share_correct(image_ND: torch.Tensor, class_KD: torch.Tensor, labels_N: torch.Tensor) -> float:
    """Top-1: the share (0-1) of the images whose nearest class is their own."""
    return float((predict(image_ND, class_KD).cpu() == labels_N).double().mean())


def row_of(method: str, *, step: int, trained_task: str, eval_task: str, phase: str, top1: float, images: int) -> Row:
    """One row of artifacts.accuracy; the pre-trained model stands at step -1, whatever `trained_task` says."""
    return {
        "method": method,
        "step": step,
        "trained_task": trained_task if step >= 0 else PRETRAINED,
        "eval_task": eval_task,
        "phase": phase if step >= 0 else PRETRAINED,
        "top1": top1,
        "n": images,
    }
