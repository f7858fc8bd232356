"""Counts the operations of the models: a CLIP's forward pass, and what a pipeline needs for an image.

A multiplication and an addition count as two operations. Plain transformers are counted from their configuration, the
models of the presets are in a table, and torch counts all others on its meta device, without weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gift_core.doctor.finding import Project
from gift_core.doctor.memory_estimate import has_estimate
from gift_core.doctor.model_checks import cached_pipeline, model_config_of
from gift_core.untrusted import read_json_file

BACKWARD = 3  # forward and backward pass together cost three times the forward pass
GUIDED = 2  # with guidance, each step runs the denoiser on the prompt and on the negative one
CONTEXT = 77  # tokens of a text, where the configuration names no other number
MLP_RATIO = 4


@dataclass(frozen=True)
class ClipOperations:
    """The operations of a forward pass on an image, and on a token of a text; and the number of weights."""

    image: float
    token: float
    weights: float


@dataclass(frozen=True)
class ImageOperations:
    """The operations of a part of a pipeline on an image of n pixels: constant + linear * n + quadratic * n^2.

    The constant part is that of the prompt, the quadratic one is attention.
    """

    constant: float
    linear: float
    quadratic: float

    def of(self, size: int) -> float:
        """Returns the operations for an image of `size` x `size` pixels."""
        pixels = size**2
        return self.constant + self.linear * pixels + self.quadratic * pixels**2


@dataclass(frozen=True)
class PipelineOperations:
    """The operations of a pass of the denoiser and of the decoder, and the number of weights of both."""

    denoiser: ImageOperations
    decoder: ImageOperations
    weights: float


# What `count_clip` and `count_pipeline` return for the published configurations: it takes them seconds, with diffusers.
COUNTED_CLIPS = {"local-dir:data/mini/clip": ClipOperations(image=41_388_032, token=808_550.4, weights=2_075_801)}
_DECODER = ImageOperations(0, 9_461_056.5, 0.5)  # of every Stable Diffusion
_V1 = PipelineOperations(ImageOperations(3_007_774_720, 2_585_491.25, 1.78253173828125), _DECODER, 943_174_827)
_V2 = PipelineOperations(ImageOperations(3_991_797_760, 2_585_491.25, 1.78253173828125), _DECODER, 949_564_587)
_SDXS = PipelineOperations(
    ImageOperations(1_383_792_640, 1_368_985, 0.1318359375), ImageOperations(0, 539_208, 0), 318_191_307
)
_XL = PipelineOperations(ImageOperations(52_531_036_160, 5_681_120, 0.68359375), _DECODER, 2_651_117_547)
COUNTED_PIPELINES = {
    "data/mini/diffusion": PipelineOperations(
        ImageOperations(25_780_224, 168_036, 3.4375), ImageOperations(0, 123_304, 0), 4_174_707
    ),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": _V1,
    "SimianLuo/LCM_Dreamshaper_v7": _V1,
    "stabilityai/stable-diffusion-2-1": _V2,
    "stabilityai/sd-turbo": _V2,
    "IDKiro/sdxs-512-dreamshaper": _SDXS,
    "stabilityai/stable-diffusion-xl-base-1.0": _XL,
    "stabilityai/sdxl-turbo": _XL,
}


def clip_operations(project: Project) -> ClipOperations | None:
    """Returns the operations of the model of params.yaml, or None if its configuration is not on this machine."""
    name = project.config.model.name
    if name in COUNTED_CLIPS:
        return COUNTED_CLIPS[name]
    config = _shipped_config(name) or model_config_of(project)
    if config is None or "hf_model_name" in config["text_cfg"]:  # that one needs a file from the hub
        return None
    return count_transformers(config) if has_estimate(config) else count_clip(config)


def pipeline_operations(project: Project) -> PipelineOperations | None:
    """Returns the operations of the pipeline of params.yaml, or None if it is not known, or has no UNet."""
    name = project.config.generator.pipeline
    if name in COUNTED_PIPELINES:
        return COUNTED_PIPELINES[name]
    folder = cached_pipeline(project)
    parts = [folder / part / "config.json" for part in ("unet", "vae")] if folder is not None else []
    if not parts or not all(part.is_file() for part in parts):
        return None
    unet, vae = (read_json_file(part) for part in parts)
    try:
        return count_pipeline(unet, vae)
    except Exception:  # of diffusers: a UNet that needs other inputs, or a damaged configuration, which `model` reports
        return None


def _shipped_config(architecture: str) -> dict[str, Any] | None:
    """The model_cfg that open_clip ships, read without importing open_clip, which takes seconds."""
    package = find_spec("open_clip")
    folders = package.submodule_search_locations if package else None
    file = Path(folders[0]) / "model_configs" / f"{architecture.replace('/', '-')}.json" if folders else None
    return read_json_file(file) if file is not None and file.is_file() else None


def count_transformers(model_config: Mapping[str, Any]) -> ClipOperations:
    """Returns the operations of a CLIP of two plain transformers (`has_estimate`) from its model_cfg."""
    vision, text = model_config["vision_cfg"], {"width": 512, "layers": 12, **model_config["text_cfg"]}
    patches, context = (vision["image_size"] // vision["patch_size"]) ** 2, text.get("context_length", CONTEXT)
    embedding = 2 * patches * 3 * vision["patch_size"] ** 2 * vision["width"]
    projections = [2 * tower["width"] * model_config["embed_dim"] for tower in (vision, text)]
    return ClipOperations(
        image=embedding + _layers(vision, patches + 1) + projections[0],
        token=(_layers(text, context) + projections[1]) / context,
        weights=sum(_layer_weights(tower) * tower["layers"] for tower in (vision, text))
        + text.get("vocab_size", 49408) * text["width"],
    )


def _layers(tower: Mapping[str, Any], tokens: int) -> float:
    """The operations of the layers: the products with their weights, and the scores and the mixing of attention."""
    return float(tower["layers"] * (2 * tokens * _layer_weights(tower) + 4 * tokens**2 * tower["width"]))


def _layer_weights(tower: Mapping[str, Any]) -> float:
    """The weights of a layer: four projections of attention, and two of the MLP."""
    return float(tower["width"] ** 2 * (4 + 2 * tower.get("mlp_ratio", MLP_RATIO)))


def count_clip(model_config: Mapping[str, Any]) -> ClipOperations:
    """Returns the operations of any open_clip model. Imports torch and open_clip."""
    import torch

    from gift_core.clip.architectures import build_empty

    model: Any = build_empty(model_config)
    size, context = model.visual.image_size, model_config["text_cfg"].get("context_length", CONTEXT)
    sides = (size, size) if isinstance(size, int) else tuple(size)
    return ClipOperations(
        image=count_operations(lambda: model.encode_image(torch.empty(1, 3, *sides))),
        token=count_operations(lambda: model.encode_text(torch.zeros(1, context, dtype=torch.long))) / context,
        weights=sum(parameter.numel() for parameter in model.parameters()),
    )


def count_pipeline(unet_config: Mapping[str, Any], vae_config: Mapping[str, Any]) -> PipelineOperations:
    """Returns the operations of a UNet and the decoder of its autoencoder, from their config.json in diffusers' format.

    Imports diffusers.
    """
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel

    is_tiny = vae_config.get("_class_name") == "AutoencoderTiny"
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(dict(unet_config))
        vae: Any = (AutoencoderTiny if is_tiny else AutoencoderKL).from_config(dict(vae_config))
    blocks = vae.config.decoder_block_out_channels if is_tiny else vae.config.block_out_channels
    scale = 2 ** (len(blocks) - 1)  # pixels per latent, along a side
    halvings = 2 ** (len(unet.config.block_out_channels) - 1)

    def latents(size: int) -> torch.Tensor:
        return torch.empty(1, unet.config.in_channels, size // scale, size // scale)

    def denoise(size: int) -> object:
        context_1LD = torch.empty(1, CONTEXT, unet.config.cross_attention_dim)
        # What Stable Diffusion XL is told besides: a summary of the prompt, and six sizes.
        config = unet.config
        summary = (config.projection_class_embeddings_input_dim or 0) - 6 * (config.addition_time_embed_dim or 0)
        added = {"text_embeds": torch.empty(1, max(summary, 0)), "time_ids": torch.empty(1, 6)}
        return unet(latents(size), torch.zeros(1), context_1LD, added_cond_kwargs=added)

    side = scale * halvings
    return PipelineOperations(
        _fitted(denoise, side),
        _fitted(lambda size: vae.decode(latents(size)), side),
        sum(parameter.numel() for part in (unet, vae) for parameter in part.parameters()),
    )


def _fitted(work: Callable[[int], object], side: int) -> ImageOperations:
    """The polynomial through the operations of `work` at three sizes, which are multiples of `side`."""
    sizes = [2 * side, 4 * side, 8 * side]
    first, second, third = (count_operations(partial(work, size)) for size in sizes)
    one, two, three = (size**2 for size in sizes)
    slopes = (second - first) / (two - one), (third - second) / (three - two)
    quadratic = (slopes[1] - slopes[0]) / (three - one)
    linear = slopes[0] - quadratic * (one + two)
    return ImageOperations(first - linear * one - quadratic * one**2, linear, quadratic)


def count_operations(work: Callable[[], object]) -> float:
    """Returns the operations of the matrix products and convolutions in `work`, run on torch's meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
