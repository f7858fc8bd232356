"""Three tasks of two classes and four models, tiny and random: what the evaluation's tests measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from gift_core.artifacts.task import TaskInfo, write_task
from gift_core.classifier import EncodingSettings
from gift_core.clip.model import save_clip
from gift_core.clip.test_set import ImageLimit
from gift_core.evaluation import EvaluationInputs, newest_model
from tests.clip.tiny import png, tiny_clip

TASKS = ("letters", "digits", "faces")


def inputs_of(
    models: Mapping[str, Path],
    tasks: Mapping[str, Path],
    step: int,
    *,
    model_for: Callable[[int, int], int] = newest_model,
    previous: Mapping[str, str] | None = None,
    limit: ImageLimit | None = None,
) -> EvaluationInputs:
    """What the evaluation of the method gift after `step` needs."""
    names = TASKS[: step + 1]
    return EvaluationInputs(
        method="gift",
        models={name: models[name] for name in ("pretrained", *names)},
        tasks={name: tasks[name] for name in names},
        model_for=model_for,
        settings=EncodingSettings(torch.device("cpu"), "fp32", 4, limit),
        previous=previous or {},
    )


def write_tasks(root: Path) -> dict[str, Path]:
    """4, 5 and 6 test images; the templates of each task are its own."""
    folders = {}
    for number, name in enumerate(TASKS):
        folders[name] = root / "tasks" / name
        info = TaskInfo(name, (f"{name} one", f"{name} two"), (f"a {{}}, {name}.", "the {}"), "made for a test")
        images = [(png(10 * number + row, width=16 + 3 * row), "png", row % 2) for row in range(4 + number)]
        write_task(folders[name], info, images[:2], images, images_per_shard=3)
    return folders


def owner(name: str) -> dict[str, str]:
    """What the provenance of a model says of itself."""
    return {} if name == "pretrained" else {"method": "gift", "task": name}


def write_models(root: Path) -> dict[str, Path]:
    """The pre-trained model and one after each task, all with different weights."""
    folders = {}
    for seed, name in enumerate(("pretrained", *TASKS)):
        folders[name] = root / "gift" / name
        save_clip(tiny_clip(seed=seed), folders[name], owner(name))
    return folders
