"""The whole of params.yaml and its short sections. Every key is required: no default in code changes a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from gift_core.config.generator import GeneratorConfig
from gift_core.config.method_options import MethodConfig
from gift_core.config.section import MAX_NAMES, Batch, Count, ImageFormat, Names, Section, Share, Template, Text
from gift_core.config.tasks import TaskConfig
from gift_core.errors import lookup

Area = Annotated[float, Field(ge=1e-4, le=1)]  # of a crop, as a share of the image
DEVICE = r"^(auto|cpu|mps|cuda(:\d{1,3})?)$"


class RunConfig(Section):
    """Which methods run, and on which device."""

    methods: Annotated[Names, Field(min_length=1)]
    device: Annotated[str, Field(pattern=DEVICE)]


class ModelConfig(Section):
    """The model under study: a name that load_clip accepts, and the weights if the name is an architecture."""

    name: Text
    pretrained: Text | None
    precision: Literal["fp32", "amp_bf16", "amp_fp16"]


class PromptsConfig(Section):
    """Which class names represent the model's earlier knowledge, how they become prompts, and how many a task gets.

    `strategy`: class_template (as in the paper, the first template of the class's data set), all_templates (one of its
    templates), or captions (those in the file `captions`, for the classes that it lists).
    """

    base_vocabulary: Text
    base_template: Template
    images_per_task: Count
    strategy: Literal["class_template", "all_templates", "captions"]
    captions: Text | None


class IngestConfig(Section):
    """How ingested tasks are stored. Images whose shorter side has more than `shorter_side` pixels are resized."""

    images_per_shard: Count
    image_format: ImageFormat
    shorter_side: Annotated[int, Field(ge=8, le=16_384)] | None


class StepConfig(Section):
    """One step of the sequence: its task, the task before it, and the factor for the method's learning rate."""

    task: Text
    after: Text
    learning_rate_factor: Annotated[float, Field(ge=0.001, le=1000)]


class TrainingConfig(Section):
    """The training settings that all methods share.

    `micro_batch_size` is the number of images or texts that are encoded at once (null: the whole batch).
    `gradient_checkpointing` recomputes activations in the backward pass. Both save memory and cost time, and the
    gradients stay those of the whole batch. `processes` train together, each on its share of the batch.
    """

    iterations: Count
    batch_size: Batch
    replay_batch_size: Annotated[Batch, Field(ge=2)]  # a pair is compared with the others
    warmup_iterations: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0, le=100)]
    betas: Annotated[tuple[Share, Share], Field(strict=False)]
    label_smoothing: Share
    crop_scale: Annotated[tuple[Area, Area], Field(strict=False)]
    micro_batch_size: Batch | None
    gradient_checkpointing: bool
    processes: Annotated[int, Field(ge=1, le=64)] = 1


def _row_and_column(last: int) -> list[tuple[int, int]]:
    return [(last, task) for task in range(last + 1)] + [(step, last) for step in range(-1, last)]


# By the protocol: the pairs (model, task) whose images step `last` encodes, from 0. -1 is the pre-trained model.
TESTED: Mapping[str, Callable[[int], list[tuple[int, int]]]] = {
    "task_incremental": _row_and_column,
    "class_incremental": lambda last: [*((last, task) for task in range(last + 1)), (-1, last)],
    "cross_domain": _row_and_column,
}


class EvaluationConfig(Section):
    """The number of images encoded at once, the classes among which a test image is classified, and the test images.

    `protocol`: task_incremental (the classes of its own task), class_incremental (of all tasks so far, in one test) or
    cross_domain (of all tasks, task by task).
    `max_images`: of each task (null: all its test images). `probes`: tasks that no step learns, tested after every
    step among their own classes.
    """

    batch_size: Batch
    protocol: Literal["task_incremental", "class_incremental", "cross_domain"]
    max_images: Count | None
    probes: Names


class Config(Section):
    """The active experiment: everything in params.yaml."""

    experiment: Text
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    run: RunConfig
    model: ModelConfig
    generator: GeneratorConfig
    prompts: PromptsConfig
    tasks: Annotated[dict[str, TaskConfig], Field(max_length=MAX_NAMES)]  # both are empty in bring_your_own
    ingest: IngestConfig
    sequence: Annotated[tuple[StepConfig, ...], Field(max_length=MAX_NAMES)]
    training: TrainingConfig
    evaluation: EvaluationConfig
    methods: Annotated[dict[str, MethodConfig], Field(min_length=1, max_length=MAX_NAMES)]

    def position(self, task: str) -> int:
        """Returns the step (0..T-1) that learns `task`; UserError with the nearest name if the sequence has none."""
        return lookup({step.task: index for index, step in enumerate(self.sequence)}, task, "params.yaml: sequence")
