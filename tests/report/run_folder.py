"""A finished run made of small numbers, written with the real artifact writers: what the report's tests read."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from safetensors.numpy import save_file

from gift_core.artifacts.accuracy import SEEN, seen_until, write_accuracy
from gift_core.artifacts.fisher import Fisher, write_fisher
from gift_core.artifacts.json_files import write_json
from gift_core.artifacts.losses import write_losses
from gift_core.artifacts.shards import Pair, pair_key, write_manifest, write_shard
from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("letters", "textures", "zodiac")
# A[i][j] in percent: the pre-trained model, then after each task
MATRICES = {
    "finetune": [[40, 60, 50], [90, 50, 30], [60, 95, 20], [30, 65, 85]],
    "gift": [[40, 60, 50], [80, 58, 50], [78, 88, 46], [74, 86, 80]],
}
# by hand from the matrices: transfer = mean(A01, mean(A02, A12)), last = mean of the last row,
# forgetting = mean(A00 - A20, A11 - A21); the own tasks' means: finetune (90 + 95 + 85) / 3, gift (80 + 88 + 80) / 3
METRICS = {
    "zero_shot": {"transfer": 55.0, "avg": 50.0, "last": 50.0, "forgetting": 0.0},
    "finetune": {"transfer": 37.5, "avg": 58.33, "last": 60.0, "forgetting": 45.0},
    "gift": {"transfer": 53.0, "avg": 71.11, "last": 80.0, "forgetting": 4.0},
}
PROMPTS = ("a photo of a snowman.", 'a photo of a "quoted" <sign> & more.')
STEPS = 30
PARAMETERS = {  # name: (shape, Fisher information of each weight); the mean: (4 x 100 + 4 x 1 + 2 x 0) / 10 = 40.4
    "visual.layer2.0.conv1.weight": ((2, 2), 100.0),
    "transformer.resblocks.1.mlp.c_fc.weight": ((4,), 1.0),
    "text_projection": ((2,), 0.0),
}


Matrix = Sequence[Sequence[float]]


def write_run(
    root: Path,
    *,
    tasks: tuple[str, ...] = TASKS,
    matrices: Mapping[str, Matrix] = MATRICES,
    seed: int = 42,
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """Fill root with params.yaml, accuracies, losses, pairs, models' headers and two timings; return the parameters.

    `changes` are other sections of params.yaml.
    """
    config = write_params(root, tasks, tuple(matrices), seed=seed, changes=changes)
    for method, matrix in matrices.items():
        write_accuracies(Layout(root), method, tasks, matrix)
    _write_rest(Layout(root), config, tasks, tuple(matrices))
    return config


def write_seen_run(
    root: Path,
    *,
    tasks: tuple[str, ...],
    zero_shot: Sequence[float],
    seen: Mapping[str, Sequence[float]],
    seed: int = 42,
) -> Config:
    """The same of a class-incremental run: percent on all classes so far, a number a step."""
    protocol = {"evaluation": {"batch_size": 256, "protocol": "class_incremental"}}
    config = write_params(root, tasks, tuple(seen), seed=seed, changes=protocol)
    for method, course in seen.items():
        write_seen_accuracies(Layout(root), method, tasks, zero_shot, course)
    _write_rest(Layout(root), config, tasks, tuple(seen))
    return config


def _write_rest(layout: Layout, config: Config, tasks: tuple[str, ...], methods: tuple[str, ...]) -> None:
    for method in methods:
        if config.methods[method].learns != "nothing":
            _write_losses(layout, method, tasks)
        if config.methods[method].consolidation.needs_fisher:
            _write_fisher(layout, method, tasks)
    for position, task in enumerate(tasks):
        write_task_json(layout, task)
        _write_pairs(layout.shards(task), seed=position)
    _write_pretrained(layout.pretrained())
    for cell, seconds in (("letters", 65.5), ("textures", 61.0)):
        note = layout.timings() / "synthesize" / f"{cell}.json"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"seconds": seconds}))


def write_task_json(
    layout: Layout, task: str, *, classes: int = 10, notes: Sequence[str] = (), skipped: Sequence[Sequence[str]] = ()
) -> None:
    """A task's description without its images: the report reads no others."""
    described: dict[str, Any] = {"name": task, "class_names": [f"{task} {number}" for number in range(classes)]}
    described |= {"templates": ["a photo of a {}."], "source": "test", "counts": {"train": 1000, "test": 500}}
    described |= {"skipped": list(skipped), "notes": list(notes), "hashes": {}}
    write_json(layout.task(task) / "task.json", described)


def write_seen_accuracies(
    layout: Layout, method: str, tasks: tuple[str, ...], zero_shot: Sequence[float], course: Sequence[float]
) -> None:
    """Accuracy files of the class-incremental protocol: the pre-trained model and the step's, on all classes so far."""
    hashes = {"model:pretrained": "0" * 64}
    for step, task in enumerate(tasks):
        hashes[f"model:{task}"] = f"{step + 1:064x}"
        common = {"method": method, "n": 500 * (step + 1)}
        rows = [
            {"step": -1, "trained_task": "pretrained", "eval_task": seen_until(task), "phase": "pretrained",
             "top1": zero_shot[step] / 100},
            {"step": step, "trained_task": task, "eval_task": SEEN, "phase": SEEN, "top1": course[step] / 100},
        ]  # fmt: skip
        write_accuracy(layout.accuracy(method, task), pd.DataFrame([{**row, **common} for row in rows]), hashes)


def write_accuracies(layout: Layout, method: str, tasks: tuple[str, ...], matrix: Matrix) -> None:
    """Accuracy files in the shape of an L."""
    hashes = {"model:pretrained": "0" * 64}
    for step, task in enumerate(tasks):
        hashes[f"model:{task}"] = f"{step + 1:x}" * 64
        cells = [(step, seen) for seen in range(step + 1)] + [(earlier, step) for earlier in range(-1, step)]
        rows = pd.DataFrame([_cell(method, tasks, matrix, *cell) for cell in cells])
        write_accuracy(layout.accuracy(method, task), rows, hashes)


def _write_losses(layout: Layout, method: str, tasks: tuple[str, ...]) -> None:
    """A task loss for all, a distillation loss for all but plain fine-tuning."""
    for task in tasks:
        write_losses(layout.model(method, task) / "losses.jsonl", [_loss(method, at) for at in range(STEPS)])


def _write_fisher(layout: Layout, method: str, tasks: tuple[str, ...]) -> None:
    diagonals = {name: np.full(shape, value, np.float32) for name, (shape, value) in PARAMETERS.items()}
    for task in tasks:
        path = layout.teacher(method, task) / "fisher.safetensors"
        write_fisher(path, Fisher(diagonals, estimator="per_sample", model="0" * 64))


def _cell(method: str, tasks: tuple[str, ...], matrix: Matrix, step: int, evaluated: int) -> dict[str, object]:
    phase = "past" if evaluated < step else "current" if evaluated == step else "future"
    return {
        "method": method,
        "step": step,
        "trained_task": "pretrained" if step < 0 else tasks[step],
        "eval_task": tasks[evaluated],
        "phase": "pretrained" if step < 0 else phase,
        "top1": matrix[step + 1][evaluated] / 100,
        "n": 500,
    }


def _loss(method: str, step: int) -> dict[str, float]:
    task = 2.0 / (1 + step)
    extra = {} if method == "finetune" else {"distill": 0.01 * step}
    return {"step": step, "learning_rate": 1e-4, "task": task, **extra, "total": task + sum(extra.values())}


def _write_pairs(folder: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 8, 8, 3), dtype=np.uint8)
    pairs = []
    for position, image in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(image).resize((32, 32), Image.Resampling.NEAREST).save(buffer, "PNG")
        pairs.append(Pair(pair_key(0, position), position, PROMPTS[position % 2], buffer.getvalue()))
    folder.mkdir(parents=True)
    write_shard(folder, 0, pairs, {"redrawn": 2})
    write_manifest(folder, {"pipeline": "test"})


def _write_pretrained(folder: Path) -> None:
    folder.mkdir(parents=True)
    save_file({"weight": np.zeros((1000, 1500), np.float32)}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {}, "preprocess_cfg": {}}))


def write_params(
    root: Path,
    tasks: tuple[str, ...],
    methods: tuple[str, ...],
    *,
    seed: int = 42,
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """The project's own params.yaml, cut to these tasks and methods; a method without a row there copies gift's."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    row = next(iter(params["tasks"].values()))
    params["tasks"] = dict.fromkeys(tasks, row)
    after = ("../pretrained", *tasks)
    params["sequence"] = [
        {"task": task, "after": before, "learning_rate_factor": 1.0} for task, before in zip(tasks, after, strict=False)
    ]
    rows = {method: params["methods"].get(method, params["methods"]["gift"]) for method in methods}
    params |= {"seed": seed, "methods": rows, "run": {"methods": list(methods), "device": "auto"}}
    params |= changes or {}
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return load_config(root / "params.yaml")
