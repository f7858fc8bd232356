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
    """The model under study: a name that open_clip knows, or local-dir:<folder>."""

    name: Text
    pretrained: Text | None
    precision: Literal["fp32", "amp_bf16"]


class GeneratorConfig(Section):
    """The text-to-image pipeline (a diffusers folder or a hub name) and how it draws. Sizes in pixels."""

    pipeline: Text
    revision: Text | None
    dtype: Literal["float32", "float16", "bfloat16"]
    steps: Count
    guidance: NonNegative
    size: Annotated[int, Field(ge=8, multiple_of=8)]
    scheduler: Text | None
    negative_prompt: str
    batch_size: Count
    images_per_shard: Annotated[int, Field(ge=1, le=10_000)]  # img2dataset's keys have four digits for the place
    image_format: ImageFormat
    max_redraws: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


class PromptsConfig(Section):
    """Which class names stand for what the model knew before, and how many prompts a task gets."""

    base_vocabulary: Text
    base_template: Template
    images_per_task: Count


class IngestConfig(Section):
    """How ingested tasks are stored."""

    images_per_shard: Count
    image_format: ImageFormat


class StepConfig(Section):
    """One step of the sequence: its task, the task before it, the factor on the method's learning rate."""

    task: str
    after: str
    learning_rate_factor: Positive


class TrainingConfig(Section):
    """What every method's fine-tuning shares."""

    steps: Count
    batch_size: Count
    replay_batch_size: Count
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: NonNegative
    betas: Annotated[tuple[Share, Share], Field(strict=False)]
    label_smoothing: Share
    crop_scale: Annotated[tuple[Positive, Annotated[float, Field(gt=0, le=1)]], Field(strict=False)]


class EvaluationConfig(Section):
    """How many images are encoded at once."""

    batch_size: Count
