"""Real diffusers pipelines of every family, made tiny from configurations with random weights; no hub, no files."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.generators.conftest import SIZE, WORDS
from tests.imports import ROOT

VOCABULARY = 1700  # of the text encoders: above any of the tokenizers'
NO_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _clip(place: str = "", *, projected: bool = False) -> dict[str, Any]:
    """A text encoder of CLIP and its tokenizer, under the names that a pipeline has for them at `place`."""
    folder = ROOT / "data" / "mini" / "diffusion" / "tokenizer"
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    config = transformers.CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=32, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return {f"text_encoder{place}": kind(config), f"tokenizer{place}": tokenizer}


def _t5(place: str = "") -> dict[str, Any]:
    """The same of T5, with a Unigram tokenizer of whole words and letters."""
    words = sorted({f"▁{word}" for line in WORDS for word in line.split()})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(word, -3.0) for word in words] + [(letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyz."]
    config = transformers.T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0)
    return {f"text_encoder{place}": transformers.T5EncoderModel(config), f"tokenizer{place}": tokenizer}


def _vae(latent_channels: int = 4, **options: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=[8, 16], in_channels=3, out_channels=3, norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=latent_channels, sample_size=SIZE, **options,
    )  # fmt: skip


def _unet(**options: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        **{
            "block_out_channels": (8, 16), "layers_per_block": 1, "sample_size": 8, "in_channels": 4, "out_channels": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": 4,
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 32, "norm_num_groups": 2,
            **options,
        }
    )  # fmt: skip


def stable_diffusion() -> Any:
    """The family of SD 1.x and 2.x, and of SDXS."""
    scheduler = diffusers.DDIMScheduler(steps_offset=1, clip_sample=False)
    return diffusers.StableDiffusionPipeline(vae=_vae(), unet=_unet(), scheduler=scheduler, **_clip(), **NO_CHECKER)


def lcm() -> Any:
    """A latent consistency model: guidance is an input of its UNet, and there is no negative prompt."""
    unet, scheduler = _unet(time_cond_proj_dim=32), diffusers.LCMScheduler()
    return diffusers.LatentConsistencyModelPipeline(vae=_vae(), unet=unet, scheduler=scheduler, **_clip(), **NO_CHECKER)


def stable_diffusion_xl() -> Any:
    """SDXL and SDXL-Turbo: two text encoders."""
    unet = _unet(
        attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=80, cross_attention_dim=64,
    )  # fmt: skip
    encoders, scheduler = _clip() | _clip("_2", projected=True), diffusers.EulerDiscreteScheduler()
    return diffusers.StableDiffusionXLPipeline(vae=_vae(), unet=unet, scheduler=scheduler, **encoders)


def pixart_sigma() -> Any:
    """PixArt-Sigma: a T5 text encoder and a transformer."""
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32,
        in_channels=4, out_channels=8, cross_attention_dim=24, norm_type="ada_norm_single",
    )  # fmt: skip
    scheduler = diffusers.DPMSolverMultistepScheduler()
    return diffusers.PixArtSigmaPipeline(vae=_vae(), transformer=transformer, scheduler=scheduler, **_t5())


def stable_diffusion_3() -> Any:
    """SD3: three text encoders, flow matching."""
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=64,
    )  # fmt: skip
    encoders = _clip(projected=True) | _clip("_2", projected=True) | _t5("_3")
    vae = _vae(shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return diffusers.StableDiffusion3Pipeline(vae=vae, transformer=transformer, scheduler=scheduler, **encoders)


def flux() -> Any:
    """FLUX.1-dev: guidance is distilled into the transformer, the scheduler shifts with the image's size."""
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    vae = _vae(1, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return diffusers.FluxPipeline(vae=vae, transformer=transformer, scheduler=scheduler, **_clip(), **_t5("_2"))
