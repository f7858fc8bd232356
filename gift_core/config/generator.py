"""The section generator of params.yaml: the text-to-image pipeline, how it draws, and which images are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gift_core.config.sections import ImageFormat
from gift_core.section import Count, NonNegative, Positive, Section, Text

Cosine = Annotated[float, Field(ge=-1, le=1)]


class LoraConfig(Section):
    """A LoRA on top of the pipeline: a folder or a hub name, the file in it, and how strongly it counts."""

    path: Text
    weight_name: Text | None = None
    scale: Positive


class GeneratorMemoryConfig(Section):
    """What lets a large pipeline fit: slower, and the last bits of the images may differ.

    `offload`: none; model (whole parts wait on the CPU); sequential (layer by layer, the least memory). `attention`: a
    backend of diffusers by its name, null for its own choice.
    """

    vae_slicing: bool
    vae_tiling: bool
    offload: Literal["none", "model", "sequential"]
    attention: Text | None


class JudgeConfig(Section):
    """The CLIP that judges drawn images: a name that open_clip knows, or local-dir:<folder>."""

    name: Text
    pretrained: Text | None


class GatesConfig(Section):
    """Sample quality gates; the paper has none. An image that fails one is drawn again with its next seed.

    `min_clip_score`: cosine of image and prompt, at least. `max_similarity`: cosine to any other image kept for the
    task, at most. `max_redraws`: tries more an image; what then still fails is an error.
    """

    judge: JudgeConfig
    min_clip_score: Cosine | None
    max_similarity: Cosine | None
    max_redraws: Count


class NegativePromptConfig(Section):
    """The negative prompt of a pipeline whose `guidance` is distilled into its weights (Flux), and how it steers.

    `true_guidance` is classifier-free guidance on top of theirs, for twice the work.
    """

    text: str
    true_guidance: Annotated[float, Field(gt=1)]


class GeneratorConfig(Section):
    """The text-to-image pipeline (a diffusers folder or a hub name) and how it draws. Sizes in pixels."""

    pipeline: Text
    revision: Text | None
    dtype: Literal["float32", "float16", "bfloat16"]
    steps: Count
    guidance: NonNegative
    size: Annotated[int, Field(ge=8, multiple_of=8)]
    scheduler: Text | None
    negative_prompt: str | NegativePromptConfig
    batch_size: Count
    images_per_shard: Annotated[int, Field(ge=1, le=10_000)]  # img2dataset's keys have four digits for the place
    image_format: ImageFormat
    max_redraws: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]
    lora: LoraConfig | None
    memory: GeneratorMemoryConfig | None
    gates: GatesConfig | None
