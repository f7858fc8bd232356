"""The sections of params.yaml, one class each. Every key is required: no default in code changes a result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gift_core.section import Count, NonNegative, Positive, Section, Share, Text

Template = Annotated[str, Field(pattern=r"\{\}")]  # str.format's place for the class name
ImageFormat = Literal["png", "jpg"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class RunConfig(Section):
    """Which methods run, where. The three `replay_` lists part `methods` by what their cells read."""

    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    replay_synthetic: tuple[str, ...]
    replay_real: tuple[str, ...]
    replay_none: tuple[str, ...]
    device: Device


class ModelConfig(Section):
    """The model under study: a name that load_clip takes, and weights where it is an architecture."""

    name: Text
    pretrained: Text | None
    precision: Literal["fp32", "amp_bf16", "amp_fp16"]


class PromptsConfig(Section):
    """Which class names stand for what the model knew before, how they become prompts, and how many a task gets.

    `strategy`: class_template (the paper: the first template of a class's data set), all_templates (any of them), or
    captions (those of the file `captions`, where it has some for a class).
    """

    base_vocabulary: Text
    base_template: Template
    images_per_task: Count
    strategy: Literal["class_template", "all_templates", "captions"]
    captions: Text | None


class IngestConfig(Section):
    """How ingested tasks are stored. Images with a shorter side above `shorter_side` px are shrunk; null: none is."""

    images_per_shard: Count
    image_format: ImageFormat
    shorter_side: Count | None


class StepConfig(Section):
    """One step of the sequence: its task, the task before it, the factor on the method's learning rate."""

    task: str
    after: str
    learning_rate_factor: Positive


class TrainingConfig(Section):
    """What every method's fine-tuning shares.

    `micro_batch_size`: so many images or texts are encoded at once, null for all; `gradient_checkpointing`: layers
    are computed again on the way back. Both save memory and cost time; gradients stay those of the whole batch.
    """

    steps: Count
    batch_size: Count
    replay_batch_size: Count
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: NonNegative
    betas: Annotated[tuple[Share, Share], Field(strict=False)]
    label_smoothing: Share
    crop_scale: Annotated[tuple[Positive, Annotated[float, Field(gt=0, le=1)]], Field(strict=False)]
    micro_batch_size: Count | None
    gradient_checkpointing: bool


class EvaluationConfig(Section):
    """How many images are encoded at once, and among which classes a test image is told apart.

    `protocol`: task_incremental (those of its own task), or class_incremental (those of all tasks so far).
    """

    batch_size: Count
    protocol: Literal["task_incremental", "class_incremental"]
