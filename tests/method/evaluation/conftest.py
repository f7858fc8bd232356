"""Three tasks and four models, what their evaluation needs, and a slow second implementation of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from gift_core.artifacts.task import iterate_task, read_task
from gift_core.clip.images import decode, evaluation_transform
from gift_core.clip.model import load_folder, save_clip
from gift_core.clip.test_set import ImageLimit
from gift_core.method.classifier import EncodingSettings
from gift_core.method.evaluation import EvaluationInputs, newest_model
from tests.clip.tiny import tiny_clip
from tests.made import made_task

TASKS = ("letters", "digits", "faces")
MODELS = ("pretrained", *TASKS)


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, Path]:
    """Of two classes: 4, 5 and 6 test images; the templates of each task are its own."""
    folders = {}
    for number, name in enumerate(TASKS):
        classes, templates = (f"{name} one", f"{name} two"), (f"a {{}}, {name}.", "the {}")
        labels = [row % 2 for row in range(4 + number)]
        folders[name] = made_task(tmp_path / "tasks" / name, labels, classes, templates, first=10 * number)
    return folders


def save_model(folder: Path, name: str, seed: int) -> Path:
    """The pre-trained model, or that of gift after a task."""
    save_clip(tiny_clip(seed=seed), folder / name, {} if name == "pretrained" else {"method": "gift", "task": name})
    return folder / name


@pytest.fixture
def models(tmp_path: Path, one_tokenizer: None) -> dict[str, Path]:
    """The pre-trained model and one after each task, all with different weights."""
    return {name: save_model(tmp_path / "gift", name, seed) for seed, name in enumerate(MODELS)}


def inputs_of(
    models: Mapping[str, Path],
    tasks: Mapping[str, Path],
    step: int,
    *,
    model_for: Callable[[int, int], int] = newest_model,
    limit: ImageLimit | None = None,
    probe: str = "",
) -> EvaluationInputs:
    """What the evaluation of gift after `step` needs. The pre-trained model has 0.5 of 6 images of `probe`."""
    names = TASKS[: step + 1]
    return EvaluationInputs(
        method="gift",
        models={name: models[name] for name in ("pretrained", *names)},
        tasks={name: tasks[name] for name in names},
        model_for=model_for,
        settings=EncodingSettings(torch.device("cpu"), "fp32", 4, limit),
        previous={},
        probes={probe: (tasks[probe], (0.5, 6))} if probe else {},
    )


def slow_answers(model: Path, folders: Sequence[Path], of: Path) -> list[tuple[str, str]]:
    """(class, nearest class of all folders) of each test image of a task: one image and one prompt at a time."""
    clip, texts, answers = load_folder(model, device=torch.device("cpu"), precision="fp32"), [], []
    transform = evaluation_transform(clip)
    with torch.no_grad():
        for task in map(read_task, folders):
            for name in task.class_names:
                prompts = [clip.model.encode_text(clip.tokenizer([t.format(name)]))[0] for t in task.templates]
                texts.append((name, functional.normalize(sum(functional.normalize(p, dim=0) for p in prompts), dim=0)))
        for image, label in iterate_task(of, "test"):
            feature = clip.model.encode_image(transform(decode(image))[None])[0]
            nearest = max(texts, key=lambda text: float(feature @ text[1]))[0]
            answers.append((read_task(of).class_names[label], nearest))
    return answers
