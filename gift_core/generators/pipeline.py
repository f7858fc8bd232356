"""A diffusers text-to-image pipeline on its device: memory savers, and seeded generation in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError
from gift_core.generators.pretrained import add_lora, check_lora, pretrained_pipeline
from gift_core.generators.sampling_settings import CallSettings, call_settings, make_scheduler
from gift_core.work.overlap import copied_to_cpu

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from gift_core.config.generator import GeneratorConfig, GeneratorMemoryConfig

KEY = "params.yaml: generator"
MEMORY_KEY = f"{KEY}.memory"
OFFLOADS = {"model": "enable_model_cpu_offload", "sequential": "enable_sequential_cpu_offload"}
VAE_SWITCHES = {"vae_slicing": "enable_slicing", "vae_tiling": "enable_tiling"}


@dataclass(frozen=True)
class TextToImage:
    """A loaded pipeline and the settings that all images are generated with."""

    pipeline: Any
    config: GeneratorConfig
    settings: CallSettings

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> Sequence[Image.Image]:
        """Returns one RGB image per prompt, of config.size x config.size pixels.

        Each image has its own generator on the CPU with its own seed, so its noise depends neither on its position in
        the batch nor on the device (https://huggingface.co/docs/diffusers/using-diffusers/reusing_seeds). A GPU may
        still compute when this returns: the first access to an image waits for it, in any thread. Raises
        UserError if the pipeline rejects the settings, or if it returns images of another size.
        """
        import torch

        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        try:
            with torch.inference_mode():
                output = self.pipeline(
                    prompt=list(prompts), generator=generators, **self.settings.arguments(len(prompts))
                )
                if isinstance(output.images, torch.Tensor):
                    self._check_size(output.images.shape[-1], output.images.shape[-2])
                    return _ImagesOnDevice(output.images)
        except (ValueError, TypeError, LookupError, AssertionError) as error:  # how pipelines reject settings
            kind, reason = type(self.pipeline).__name__, " ".join(str(error).split())
            raise UserError(f"{KEY}: {kind} rejects these settings ({reason}). Change the setting it names.") from error
        for image in output.images:
            self._check_size(*image.size)
        return [image.convert("RGB") for image in output.images]

    def _check_size(self, width: int, height: int) -> None:
        size = self.config.size
        if (width, height) != (size, size):
            what = f"{size}, but {type(self.pipeline).__name__} returns images of {width}x{height} px"
            raise UserError(f"{KEY}.size: {what}. Use a size it supports, for most a multiple of 16 or 32.")


class _ImagesOnDevice(Sequence["Image.Image"]):
    """RGB images of a tensor [B, C, H, W] with values 0-1, as diffusers makes them, to the byte.

    diffusers converts them on the CPU, 24 ms for 512 px, while the GPU waits. Here the GPU rounds them to gray levels,
    and they are copied beside its next computation.
    """

    def __init__(self, images_BCHW: torch.Tensor) -> None:
        levels_BHWC = (images_BCHW.permute(0, 2, 3, 1).float() * 255).round().byte().contiguous()
        self._count, self._levels = len(levels_BHWC), copied_to_cpu(levels_BHWC)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._images[index]

    @cached_property
    def _images(self) -> list[Image.Image]:
        from PIL import Image

        arrays = self._levels().numpy()
        return [Image.fromarray(array.squeeze()).convert("RGB") for array in arrays]


def load_pipeline(config: GeneratorConfig, device: torch.device) -> TextToImage:
    """Returns the pipeline `config.pipeline` (a diffusers folder or a hub name) on `device`, ready to generate.

    Raises UserError if it cannot be loaded or does not support a setting of `config`: scheduler, guidance, negative
    prompt, LoRA, memory savers.
    """
    check_lora(config.lora)
    if config.memory is not None and config.memory.offload != "none" and device.type == "cpu":
        what = f"{config.memory.offload}, but run.device is the CPU, where everything is already"
        raise UserError(f"{MEMORY_KEY}.offload: {what}. Write offload: none, or run on a GPU.")
    pipeline = pretrained_pipeline(config)
    settings = call_settings(pipeline, config)
    if config.scheduler is not None:
        pipeline.scheduler = make_scheduler(pipeline.scheduler, config.scheduler)
    add_lora(pipeline, config.lora)
    place_pipeline(pipeline, config.memory, device)
    pipeline.set_progress_bar_config(disable=True)  # counts the steps of one batch; ours counts images
    return TextToImage(pipeline, config, settings)


def place_pipeline(pipeline: Any, config: GeneratorMemoryConfig | None, device: torch.device) -> None:
    """Moves `pipeline` to `device` with the memory savers of `config` (None: no memory savers).

    Raises UserError for a saver that the pipeline does not have, and for an unknown or unusable attention backend.
    """
    if config is None:
        pipeline.to(device)
        return
    for key, switch in VAE_SWITCHES.items():
        if getattr(config, key):
            try:
                getattr(getattr(pipeline, "vae", None), switch)()
            except (AttributeError, NotImplementedError) as error:
                what = f"true, but {type(pipeline).__name__} has no VAE that supports it"
                raise UserError(f"{MEMORY_KEY}.{key}: {what}. Write {key}: false.") from error
    if config.attention is not None:
        models = [  # on the UNets of SD and SDXL set_attention_backend has no effect
            part
            for part in pipeline.components.values()
            if hasattr(part, "set_attention_backend")
            and any(hasattr(getattr(layer, "processor", None), "_attention_backend") for layer in part.modules())
        ]
        try:
            if not models:
                raise ValueError(f"no part of {type(pipeline).__name__} supports attention backends.")
            for model in models:
                model.set_attention_backend(config.attention)
        except (RuntimeError, ValueError, ImportError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{MEMORY_KEY}.attention: {reason} Or write attention: null.") from error
    if config.offload == "none":
        pipeline.to(device)
    else:
        getattr(pipeline, OFFLOADS[config.offload])(device=device)
