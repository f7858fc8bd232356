"""The memory that `gift doctor` estimates for each stage, in bytes."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.smoke.pipeline import Pipeline
from benchmarks.smoke.sizes import Size
from gift_core.artifacts.task import read_task
from gift_core.config.loading import load_config
from gift_core.doctor.counting import count_clip, count_pipeline
from gift_core.doctor.memory_estimate import generation_bytes, training_bytes


def estimated_bytes(pipeline: Pipeline, size: Size) -> Mapping[str, int]:
    """Returns the estimates by stage ("finetune gift aircraft"), for the stages whose memory is estimated."""
    config = load_config(pipeline.folder / "params.yaml")
    parts = {"unet": size.unet, "vae": size.autoencoder, "text_encoder": size.text_encoder}
    generation = generation_bytes(count_pipeline(parts, config.generator.size), config.generator)
    clip = count_clip(size.clip, checkpointing=config.training.gradient_checkpointing)
    return {f"synthesize {task}": generation for task in config.tasks} | {
        f"finetune {method} {task}": training_bytes(
            clip,
            config.methods[method],
            config.training,
            trained=clip.weights,
            precision=config.model.precision,
            texts=len(read_task(pipeline.layout.task(task)).class_names),
        )
        for method in config.run.methods
        for task in config.tasks
    }
