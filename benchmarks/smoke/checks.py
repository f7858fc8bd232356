"""Checks the results of the smoke run: all artifacts, the shapes of the models, and loading in open_clip."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from benchmarks.smoke.pipeline import Pipeline
from benchmarks.smoke.sizes import Size
from gift_core.artifacts.accuracy import read_accuracy
from gift_core.artifacts.model_folder import LOSSES, PROVENANCE, model_hash, read_losses
from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.report_json import read_metrics
from gift_core.artifacts.shards import iterate_pairs
from gift_core.artifacts.task import SPLITS, iterate_task, read_task
from gift_core.artifacts.teacher_files import FEATURES, Features, read_features


class SmokeError(AssertionError):
    """The pipeline ran, but a result is wrong."""


def check_results(pipeline: Pipeline, size: Size) -> Iterator[str]:
    """Yields one sentence per check that passes. Raises ContractError or SmokeError at the first that fails."""
    run, tasks = pipeline.experiment["run"], list(pipeline.experiment["tasks"])
    with_teacher = [
        name for name, row in pipeline.experiment["methods"].items() if row["replay"]["images"] == "synthetic"
    ]
    for task in tasks:
        yield _check_task(pipeline, task)
        yield _check_pairs(pipeline, task, size)
        for method in with_teacher:
            yield _check_teacher(pipeline, method, task, size)
        for method in run["methods"]:
            yield _check_step(pipeline, method, task)
    yield _check_report(pipeline)
    yield _check_loads_in_open_clip(pipeline.layout.model(run["methods"][-1], tasks[-1]), size)


def _check_task(pipeline: Pipeline, task: str) -> str:
    info = read_task(pipeline.layout.task(task))
    images = {split: sum(1 for _ in iterate_task(pipeline.layout.task(task), split)) for split in SPLITS}
    _require(min(images.values()) > 0, f"{task}: a split is empty: {images}")
    return f"{task}: {len(info.class_names)} classes, {images['train']} training and {images['test']} test images"


def _check_pairs(pipeline: Pipeline, task: str, size: Size) -> str:
    prompts = read_prompts(pipeline.layout.prompts(task)).prompt.tolist()
    pairs = list(iterate_pairs(pipeline.layout.shards(task)))
    _require([pair.prompt for pair in pairs] == prompts, f"{task}: the texts of the pairs should be {prompts}")
    sizes = {Image.open(io.BytesIO(pair.image)).size for pair in pairs}
    _require(sizes == {(size.pixels,) * 2}, f"{task}: generated images of {sizes}, expected {size.pixels} px")
    return f"{task}: {len(pairs)} pairs of {size.pixels} px, {prompts}"


def _check_step(pipeline: Pipeline, method: str, task: str) -> str:
    folder = pipeline.layout.model(method, task)
    model_hash(folder)
    _require((folder / PROVENANCE).is_file(), f"{folder}: no {PROVENANCE}")
    losses = read_losses(folder / LOSSES)
    iterations = pipeline.experiment["training"]["iterations"]
    _require(len(losses) == iterations, f"{folder / LOSSES}: {len(losses)} rows, expected {iterations}")
    _require(all(math.isfinite(value) for row in losses for value in row.values()), f"{folder / LOSSES}: not finite")
    rows, _ = read_accuracy(pipeline.layout.accuracy(method, task))
    names = [name for name in losses[-1] if name not in ("iteration", "learning_rate")]
    values = ", ".join(f"{name} {losses[-1][name]:.3g}" for name in names)
    return f"{method} after {task}: {values}; {len(rows)} accuracies"


def _check_teacher(pipeline: Pipeline, method: str, task: str, size: Size) -> str:
    features = read_features(pipeline.layout.teacher(method, task) / FEATURES, Features)
    kept = pipeline.experiment["methods"][method]["replay"].get("keep_earlier", 0)
    steps = 1 + min(kept, list(pipeline.experiment["tasks"]).index(task))  # whose pairs are replayed
    expected = (steps * pipeline.experiment["prompts"]["images_per_task"], size.clip["embed_dim"])
    found = features.image_MD.shape
    _require(found == expected, f"{method}, {task}: the features of the teacher should be {expected}, they are {found}")
    return (
        f"{method} before {task}: the features of the teacher are {expected[0]} x {expected[1]}, for images and texts"
    )


def _check_report(pipeline: Pipeline) -> str:
    metrics = read_metrics(pipeline.layout.reports() / "metrics.json")
    expected = {"zero_shot", *pipeline.experiment["run"]["methods"]}
    _require(set(metrics) == expected, f"metrics.json has {sorted(metrics)}, expected {sorted(expected)}")
    page = pipeline.layout.reports() / "index.html"
    _require(page.is_file() and page.stat().st_size > 0, f"{page}: no report")
    return f"the report contains {', '.join(sorted(metrics))}"


def _check_loads_in_open_clip(folder: Path, size: Size) -> str:
    """open_clip loads the result without this project, and encodes an image to features of the expected size."""
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    count = sum(value.numel() for value in model.parameters())
    _require(count == size.parameters.get("clip", count), f"{folder}: {count:,} parameters")
    with torch.inference_mode():
        feature_1D = model.eval().encode_image(transform(Image.new("RGB", (300, 200), "orange"))[None])
    _require(feature_1D.shape == (1, size.clip["embed_dim"]), f"{folder}: a feature of shape {feature_1D.shape}")
    name, length = f"{folder.parent.name}/{folder.name}", feature_1D.shape[1]
    return f"open_clip loads {name}: {count / 1e6:.1f}M parameters, features of size {length}"


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise SmokeError(message)
