"""A diffusers text-to-image pipeline, ready to draw seeded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError
from gift_core.generators.calls import CallSettings, call_settings
from gift_core.generators.lora import add_lora, check_lora
from gift_core.generators.memory import check_memory, place_pipeline
from gift_core.generators.schedulers import set_scheduler
from gift_core.generators.sources import pretrained_pipeline

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from gift_core.config.generator import GeneratorConfig

PLACE = "params.yaml: generator"


@dataclass(frozen=True)
class TextToImage:
    """A loaded pipeline and the settings every image is drawn with."""

    pipeline: Any
    config: GeneratorConfig
    settings: CallSettings

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """Returns one RGB image a prompt, of config.size x config.size px.

        Each image has its own generator, seeded with its own seed on the CPU, so that neither its place in the batch
        nor the device decides its noise (diffusers' guide to reproducible pipelines). UserError where the memory does
        not suffice, the pipeline refuses its settings, or draws another size than asked for.
        """
        import torch

        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        try:
            with torch.inference_mode():
                output = self.pipeline(
                    prompt=list(prompts), generator=generators, **self.settings.arguments(len(prompts))
                )
        except torch.OutOfMemoryError as error:
            raise UserError(_out_of_memory(self.config)) from error
        except ValueError as error:  # how pipelines refuse what they cannot do
            kind, reason = type(self.pipeline).__name__, " ".join(str(error).split())
            raise UserError(f"{PLACE}: {kind} refuses these settings ({reason}). Change what it names.") from error
        return [self._checked(image) for image in output.images]

    def _checked(self, image: Image.Image) -> Image.Image:
        size = self.config.size
        if image.size != (size, size):
            drawn = "x".join(map(str, image.size))
            what = f"{size}, but {type(self.pipeline).__name__} draws {drawn} px then"
            raise UserError(f"{PLACE}.size: {what}. Write a size it can draw, a multiple of 16 or 32 for most.")
        return image.convert("RGB")


def load_pipeline(config: GeneratorConfig, device: torch.device) -> TextToImage:
    """Returns the pipeline of `config.pipeline` (a diffusers folder or a hub name) on `device`, ready to draw.

    UserError where it cannot be loaded or cannot do what `config` asks for: scheduler, steps, guidance, negative
    prompt, LoRA, memory savers. Nothing is left to be found by the first image.
    """
    check_lora(config.lora)
    check_memory(config.memory, device)
    pipeline = pretrained_pipeline(config)
    settings = call_settings(pipeline, config)
    set_scheduler(pipeline, config.scheduler, config.steps)
    add_lora(pipeline, config.lora)
    place_pipeline(pipeline, config.memory, device)
    pipeline.set_progress_bar_config(disable=True)  # it counts the steps of one batch, and would hide ours
    return TextToImage(pipeline, config, settings)


def _out_of_memory(config: GeneratorConfig) -> str:
    return (
        f"{PLACE}: the device's memory does not suffice for {config.batch_size} images of {config.size} px at once. "
        "Lower batch_size; set memory: {vae_slicing: true, vae_tiling: false, offload: model, attention: null}; or use "
        "dtype: float16 or bfloat16."
    )
