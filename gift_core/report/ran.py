"""What ran: the settings, the models by the hash of their weights, versions, and times where this machine has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import pandas as pd
from safetensors import safe_open

from gift_core.artifacts.json_files import read_json
from gift_core.artifacts.models import WEIGHTS, require_model_folder
from gift_core.artifacts.task import TaskInfo
from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.report.method_words import in_words
from gift_core.report.record import DataNote, Fact
from gift_core.report.words import label, named

PACKAGES = ("torch", "open_clip_torch", "diffusers", "transformers", "dvc")
PROTOCOLS = {
    "task_incremental": "task-incremental: an image is told apart among the classes of its own task",
    "class_incremental": "class-incremental: an image is told apart among the classes of all tasks so far",
}
MANY_TASKS = 15  # beyond this only the ends of the sequence are named
STAGES = ("import_model", "ingest", "write_vocabulary", "write_prompts", "synthesize", "teach", "finetune", "evaluate")


def facts_of(
    layout: Layout, config: Config, infos: Mapping[str, TaskInfo], notes: Sequence[DataNote]
) -> tuple[Fact, ...]:
    """The settings that a reader needs to judge the numbers, from params.yaml and the artifacts."""
    model, generator, prompts, training = config.model, config.generator, config.prompts, config.training
    return (
        Fact("Experiment", f"{config.experiment}, seed {config.seed}"),
        Fact("Sequence", _sequence(infos)),
        *(Fact("Data", f"{note.text} ({named(note.tasks, len(infos))})") for note in notes),
        Fact("Tested", PROTOCOLS[config.evaluation.protocol]),
        Fact("Model", f"{model.name}{f', {model.pretrained}' if model.pretrained else ''}, {_size(layout)}"),
        Fact(
            "Generator",
            f"{generator.pipeline}, {generator.steps} steps, guidance {generator.guidance:g}, {generator.size} px",
        ),
        Fact("Replay", f"{prompts.images_per_task:,} pairs a task, base vocabulary {prompts.base_vocabulary}"),
        Fact(
            "Training",
            f"{training.iterations:,} steps a task, batches of {training.batch_size} images "
            f"and {training.replay_batch_size} pairs",
        ),
        *(Fact(label(name), in_words(config.methods[name])) for name in config.run.methods),
        Fact("Versions here", ", ".join(_versions())),
    )


def models_of(hashes: Mapping[str, Mapping[str, str]], tasks: tuple[str, ...]) -> pd.DataFrame:
    """method, task, sha256 of every model that was evaluated, from the accuracy files' metadata."""
    rows = [
        (method, task, notes[f"model:{task}"])
        for method, notes in hashes.items()
        for task in ("pretrained", *tasks)
        if f"model:{task}" in notes
    ]
    models: pd.DataFrame = pd.DataFrame(rows, columns=["method", "task", "sha256"])
    return models


def timings_of(layout: Layout) -> pd.DataFrame:
    """stage, cells, seconds (their sum) of every stage that this machine has notes of; empty where it has none."""
    rows = []
    for stage in STAGES:
        notes = sorted((layout.timings() / stage).glob("*.json"))
        if notes:
            seconds = sum(float(read_json(note, stage)["seconds"]) for note in notes)
            rows.append((stage, len(notes), seconds))
    timings: pd.DataFrame = pd.DataFrame(rows, columns=["stage", "cells", "seconds"])
    return timings


def _sequence(infos: Mapping[str, TaskInfo]) -> str:
    """Each task with its classes and test images; of many tasks the first and the last, and the sums."""
    tasks = [
        f"{info.name} ({len(info.class_names)} classes, {info.counts['test']:,} test images)" for info in infos.values()
    ]
    if len(tasks) <= MANY_TASKS:
        return ", ".join(tasks)
    classes = sum(len(info.class_names) for info in infos.values())
    images = sum(info.counts["test"] for info in infos.values())
    whole = f"together {classes:,} classes and {images:,} test images"
    return f"{len(tasks)} tasks: {tasks[0]}, {tasks[1]} … {tasks[-1]}; {whole}"


def _size(layout: Layout) -> str:
    """The pre-trained model's number of parameters, from the header of its weights."""
    folder = layout.pretrained()
    require_model_folder(folder, "import_model")
    with safe_open(folder / WEIGHTS, framework="numpy") as weights:
        count = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return f"{count / 1e6:.1f} million parameters"


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found
