"""The memory that `gift doctor` estimates for each stage, in bytes."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.smoke.pipeline import Pipeline
from benchmarks.smoke.random_models import part_sizes
from benchmarks.smoke.sizes import Size
from gift_core.artifacts.task import read_task
from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.doctor.memory_estimate import generation_bytes, has_estimate, training_bytes


def estimated_bytes(pipeline: Pipeline, size: Size) -> Mapping[str, int]:
    """Returns the estimates by stage ("finetune gift aircraft"), for the stages whose memory is estimated."""
    config = load_config(pipeline.folder / "params.yaml")
    generation = generation_bytes(
        {name: count for name, count in part_sizes(size).items() if name != "clip"}, config.generator
    )
    estimates = {f"synthesize {task}": generation for task in config.tasks}
    if not has_estimate(size.clip):
        return estimates
    training = {
        f"finetune {method} {task}": _training(pipeline, config, size, method, task)
        for method in config.run.methods
        for task in config.tasks
    }
    return estimates | training


def _training(pipeline: Pipeline, config: Config, size: Size, method: str, task: str) -> int:
    return training_bytes(
        size.clip,
        config.methods[method],
        config.training,
        precision=config.model.precision,
        classes=len(read_task(pipeline.layout.task(task)).class_names),
    )
