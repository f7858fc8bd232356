"""The whole of params.yaml and most of its sections. Every key is required: no default in code changes a result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from gift_core.config.method_options import MethodConfig
from gift_core.config.section import MAX_NAMES, Batch, Count, ImageFormat, Names, Section, Share, Template, Text
from gift_core.config.tasks import TaskConfig
from gift_core.errors import lookup
from gift_core.protocols import Protocol

Area = Annotated[float, Field(ge=1e-4, le=1)]  # of a crop, as a share of the image
Cosine = Annotated[float, Field(ge=-1, le=1)]
GENERATOR_FILES = "data/0_raw/generators/"
# Schedulers that take their noise from torchsde instead of the images' own generators.
UNSEEDED = ("DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler")
LOCAL = "local-dir:"
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


class LoraConfig(Section):
    """A LoRA for the pipeline: a folder or a hub name, the file in it, and the scale of its weights."""

    path: Text
    weight_name: Text | None = None
    scale: Annotated[float, Field(ge=0.001, le=100)]


class GeneratorMemoryConfig(Section):
    """Settings that make a large pipeline fit into memory. They cost time, and the images may differ by rounding.

    `offload`: none, model (whole parts wait on the CPU), or sequential (layer by layer, the least memory). `attention`:
    the name of a diffusers attention backend; null for the default.
    """

    vae_slicing: bool
    vae_tiling: bool
    offload: Literal["none", "model", "sequential"]
    attention: Text | None


class ScorerConfig(Section):
    """The CLIP model that scores generated images: a name that open_clip knows, or local-dir:<folder>."""

    name: Text
    pretrained: Text | None


class FiltersConfig(Section):
    """Quality filters, which the paper does not use. A rejected image is generated again with its next seed.

    `min_clip_score`: the lowest cosine similarity of image and prompt. `max_similarity`: the highest cosine similarity
    to another image of the task. `max_redraws`: the number of further attempts for an image before the stage fails.
    """

    scorer: ScorerConfig
    min_clip_score: Cosine | None
    max_similarity: Cosine | None
    max_redraws: Annotated[int, Field(ge=1, le=10_000)]

    @property
    def local_scorer(self) -> str:
        """The folder of the scorer, empty for one that can be downloaded."""
        return self.scorer.name.removeprefix(LOCAL) if self.scorer.name.startswith(LOCAL) else ""


class GeneratorConfig(Section):
    """The text-to-image pipeline (a diffusers folder or a hub name) and its settings. `size` is in pixels."""

    pipeline: Text
    revision: Text | None
    dtype: Literal["float32", "float16", "bfloat16"]
    steps: Annotated[int, Field(ge=1, le=1000)]  # diffusion models are trained with 1000 noise levels
    guidance: Annotated[float, Field(ge=0, le=100)]
    size: Annotated[int, Field(ge=8, le=8192, multiple_of=8)]
    scheduler: Text | None
    negative_prompt: Annotated[str, Field(max_length=10_000)]
    batch_size: Batch
    images_per_shard: Annotated[int, Field(ge=1, le=10_000)]  # img2dataset's keys have four digits for the position
    image_format: ImageFormat
    max_redraws: Annotated[int, Field(ge=0, le=10_000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    lora: LoraConfig | None
    memory: GeneratorMemoryConfig | None
    filters: FiltersConfig | None


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


class EvaluationConfig(Section):
    """The number of images encoded at once, the classes among which a test image is classified, and the test images.

    `protocol`: task_incremental (the classes of its own task), class_incremental (of all tasks so far, in one test) or
    cross_domain (of all tasks, task by task).
    `max_images`: of each task (null: all its test images). `probes`: tasks that no step learns, tested after every
    step among their own classes.
    """

    batch_size: Batch
    protocol: Protocol
    max_images: Count | None
    probes: Names


class RehearsalConfig(Section):
    """How many images of each split `ingest` stores in a rehearsal, at least one of each class. No setting of users:
    only `gift rehearse` writes it, into a params.yaml of its own."""

    train_images: Count
    test_images: Count


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
    rehearsal: RehearsalConfig | None = None

    @property
    def used_tasks(self) -> tuple[str, ...]:
        """The tasks of the sequence, then the probes."""
        return *(step.task for step in self.sequence), *self.evaluation.probes

    def position(self, task: str) -> int:
        """Returns the step (0..T-1) that learns `task`; UserError with the nearest name if the sequence has none."""
        return lookup({step.task: index for index, step in enumerate(self.sequence)}, task, "params.yaml: sequence")


def check_generator(generator: GeneratorConfig) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, "what is wrong. Remedy") for settings that contradict each other."""
    prompt, guidance = generator.negative_prompt, generator.guidance
    if prompt and guidance <= 1:
        problem = f"{prompt!r} has no effect with guidance {guidance}, because guidance of 1 or less is off"
        yield "generator.negative_prompt", f'{problem}. Write negative_prompt: "", or a guidance above 1.'
    if generator.scheduler in UNSEEDED:
        problem = f"the noise of {generator.scheduler} does not follow the images' seeds"
        yield "generator.scheduler", f"{problem}. Use DPMSolverMultistepScheduler, or EulerAncestralDiscreteScheduler."
    filters = generator.filters
    if filters is None:
        return
    if filters.min_clip_score is None and filters.max_similarity is None:
        problem = "neither min_clip_score nor max_similarity is set, so every image would pass"
        yield "generator.filters", f"{problem}. Set one, or write filters: null."
    if filters.local_scorer:
        yield from check_watched("generator.filters.scorer.name", filters.local_scorer, GENERATOR_FILES)


def check_watched(key: str, path: str, folder: str) -> Iterator[tuple[str, str]]:
    """Yields (key, "what is wrong. Remedy") for a path outside `folder`, which the pipeline watches for changes."""
    if not path.startswith(folder) or ".." in path.split("/"):
        yield key, f"{path} is outside {folder}, which the pipeline watches for changes. Move or link it there."


def looks_local(name: str) -> bool:
    """Returns True when `name` can only be a path on this machine. Hub names have the form owner/name."""
    return name.startswith((".", "/", "data/")) or name.count("/") > 1
