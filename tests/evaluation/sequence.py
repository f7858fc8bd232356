"""What the evaluation of three tasks needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from gift_core.classifier import EncodingSettings
from gift_core.clip.test_set import ImageLimit
from gift_core.evaluation import EvaluationInputs, newest_model

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
