"""Real diffusers pipelines of every family, made tiny from configurations with random weights; no hub, no files.

Their images are 16 px of noise. They run the same code between prompt and image as the full-size pipelines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from gift_core.config.generator import GeneratorConfig
from gift_core.generators.pipeline import TextToImage, load_pipeline
from tests.imports import ROOT

CPU = torch.device("cpu")
SIZE = 16
WORDS = ["a photo of a red snowman.", "a anchor", "a cloud"]
VOCABULARY = 1700  # of the text encoders: above any of the tokenizers'


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(ROOT / "data" / "mini" / "diffusion" / "tokenizer", model_max_length=77)


def _clip_encoder(*, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = _clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=32, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def _t5_tokenizer() -> Any:
    """A Unigram tokenizer of whole words and letters, in T5's class."""
    from transformers import T5Tokenizer

    words = sorted({f"▁{word}" for line in WORDS for word in line.split()})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(word, -3.0) for word in words] + [(letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyz."]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def _t5_encoder() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4))


def _vae(latent_channels: int = 4, **options: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=[8, 16], in_channels=3, out_channels=3, norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=latent_channels, sample_size=SIZE, **options,
    )  # fmt: skip


def _unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        **{
            "block_out_channels": (8, 16), "layers_per_block": 1, "sample_size": 8, "in_channels": 4, "out_channels": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": 4,
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 32, "norm_num_groups": 2,
            **options,
        }
    )  # fmt: skip


def stable_diffusion() -> Any:
    """The family of SD 1.x and 2.x."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=_vae(), text_encoder=_clip_encoder(), tokenizer=_clip_tokenizer(), unet=_unet(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def lcm() -> Any:
    """A latent consistency model: guidance is an input of its UNet, and there is no negative prompt."""
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    return LatentConsistencyModelPipeline(
        vae=_vae(), text_encoder=_clip_encoder(), tokenizer=_clip_tokenizer(), unet=_unet(time_cond_proj_dim=32),
        scheduler=LCMScheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxs() -> Any:
    """SDXS: a UNet without a middle block, a tiny autoencoder, one step from the last noise level."""
    from diffusers import AutoencoderTiny, DEISMultistepScheduler, StableDiffusionPipeline

    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=vae, text_encoder=_clip_encoder(), tokenizer=_clip_tokenizer(), unet=_unet(mid_block_type=None),
        scheduler=DEISMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl() -> Any:
    """SDXL and SDXL-Turbo: two text encoders."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    unet = _unet(
        attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=80, cross_attention_dim=64,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=_vae(), text_encoder=_clip_encoder(), text_encoder_2=_clip_encoder(projected=True), unet=unet,
        tokenizer=_clip_tokenizer(), tokenizer_2=_clip_tokenizer(), scheduler=EulerDiscreteScheduler(),
    )  # fmt: skip


def pixart_sigma() -> Any:
    """PixArt-Sigma: a T5 text encoder and a transformer."""
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32,
        in_channels=4, out_channels=8, cross_attention_dim=24, norm_type="ada_norm_single",
    )  # fmt: skip
    return PixArtSigmaPipeline(
        tokenizer=_t5_tokenizer(), text_encoder=_t5_encoder(), vae=_vae(), transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    )  # fmt: skip


def stable_diffusion_3() -> Any:
    """SD3: three text encoders, flow matching."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=64,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip_encoder(projected=True), tokenizer=_clip_tokenizer(),
        text_encoder_2=_clip_encoder(projected=True), tokenizer_2=_clip_tokenizer(),
        text_encoder_3=_t5_encoder(), tokenizer_3=_t5_tokenizer(),
    )  # fmt: skip


def flux() -> Any:
    """FLUX.1-dev: guidance is distilled into the transformer, the scheduler shifts with the image's size."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=_vae(1, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        transformer=transformer, text_encoder=_clip_encoder(), tokenizer=_clip_tokenizer(),
        text_encoder_2=_t5_encoder(), tokenizer_2=_t5_tokenizer(),
    )  # fmt: skip


FAMILIES: Mapping[str, Callable[[], Any]] = {
    make.__name__: make
    for make in (stable_diffusion, lcm, sdxs, stable_diffusion_xl, pixart_sigma, stable_diffusion_3, flux)
}


def make(family: str) -> Any:
    """The pipeline of a family, with weights from a fixed seed."""
    torch.manual_seed(0)
    return FAMILIES[family]()


def load(
    folder: str, settings: Callable[..., GeneratorConfig], *, device: torch.device = CPU, **changes: Any
) -> TextToImage:
    """The pipeline in `folder` on `device`."""
    return load_pipeline(settings(folder, **changes), device)


def levels(image: Image.Image) -> np.ndarray:
    """The pixels as signed integers."""
    return np.asarray(image).astype(int)


def apart(first: Image.Image, second: Image.Image) -> int:
    """The largest difference between two images in any channel of any pixel."""
    return int(np.abs(levels(first) - levels(second)).max())


def first_image(config: GeneratorConfig) -> np.ndarray:
    """The pixels of one image with seed 5."""
    return levels(load_pipeline(config, CPU).generate(WORDS[:1], [5])[0])
