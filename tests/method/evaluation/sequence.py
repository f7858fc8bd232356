"""What the evaluation of three tasks needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional

from gift_core.artifacts.predictions import read_predictions
from gift_core.artifacts.task import iterate_task, read_task
from gift_core.clip.images import decode, evaluation_transform
from gift_core.clip.model import load_folder
from gift_core.clip.test_set import ImageLimit
from gift_core.method.classifier import EncodingSettings
from gift_core.method.evaluation import EvaluationInputs, newest_model

TASKS = ("letters", "digits", "faces")


def inputs_of(
    models: Mapping[str, Path],
    tasks: Mapping[str, Path],
    step: int,
    *,
    model_for: Callable[[int, int], int] = newest_model,
    previous: Mapping[str, str] | None = None,
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
        previous=previous or {},
        probes={probe: (tasks[probe], (0.5, 6))} if probe else {},
    )


def owner(name: str) -> dict[str, str]:
    """What the provenance of a model says of itself."""
    return {} if name == "pretrained" else {"method": "gift", "task": name}


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


def require_agreement(path: Path, rows: pd.DataFrame) -> None:
    """Asserts that the predictions in `path` give the accuracies in `rows`, image by image and caption by caption."""
    found, _ = read_predictions(path)
    found = found.astype(dict.fromkeys(("label", "predicted", "task"), str))
    right = found.label == found.predicted
    query = found["query"].astype(str) if "query" in found else pd.Series("class", index=found.index)
    right = right.where(query == "class", found.get("rank", 0) == 1).astype(float)
    task = rows.eval_task.iloc[-1] if (rows.protocol == "class_incremental").all() else found.task
    tests = pd.DataFrame({"step": found.step, "task": task, "query": query, "top1": right})
    means = tests.groupby(["step", "task", "query"]).top1.mean().groupby(["step", "task"]).mean()
    expected = rows[rows.phase != "probe"].set_index(["step", "eval_task"]).top1
    assert means.round(9).to_dict() == expected.round(9).to_dict()
