"""The section generator of params.yaml: the text-to-image pipeline, its settings, and the filters for its images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from gift_core.config.section import Batch, ImageFormat, Section, Text

Cosine = Annotated[float, Field(ge=-1, le=1)]
GENERATOR_FILES = "data/0_raw/generators/"
# Schedulers that take their noise from torchsde instead of the images' own generators.
UNSEEDED = ("DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler")
LOCAL = "local-dir:"


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


def check_generator(generator: GeneratorConfig) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, "what is wrong. Remedy") for settings that contradict each other."""
    text, guidance = generator.negative_prompt, generator.guidance
    if text and guidance <= 1:
        what = f"{text!r} has no effect with guidance {guidance}, because guidance of 1 or less is off"
        yield "generator.negative_prompt", f'{what}. Write negative_prompt: "", or a guidance above 1.'
    if generator.scheduler in UNSEEDED:
        what = f"the noise of {generator.scheduler} does not follow the images' seeds"
        yield "generator.scheduler", f"{what}. Use DPMSolverMultistepScheduler, or EulerAncestralDiscreteScheduler."
    filters = generator.filters
    if filters is None:
        return
    if filters.min_clip_score is None and filters.max_similarity is None:
        what = "neither min_clip_score nor max_similarity is set, so every image would pass"
        yield "generator.filters", f"{what}. Set one, or write filters: null."
    if filters.local_scorer:
        yield from check_watched("generator.filters.scorer.name", filters.local_scorer, GENERATOR_FILES)


def check_watched(key: str, path: str, folder: str) -> Iterator[tuple[str, str]]:
    """Yields (key, "what is wrong. Remedy") for a path outside `folder`, which the pipeline watches for changes."""
    if not path.startswith(folder) or ".." in path.split("/"):
        yield key, f"{path} is outside {folder}, which the pipeline watches for changes. Move or link it there."


def looks_local(name: str) -> bool:
    """Returns True when `name` can only be a path on this machine. Hub names have the form owner/name."""
    return name.startswith((".", "/", "data/")) or name.count("/") > 1
