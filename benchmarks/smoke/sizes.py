"""The official configurations of CLIP ViT-B/16 and Stable Diffusion v1.5, and versions reduced in depth and width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gift_core.doctor.inputs import known_models

Settings = Mapping[str, Any]

CONTEXT, VOCABULARY = 77, 49408
V1 = known_models()["stable-diffusion-v1-5/stable-diffusion-v1-5"]
# differs: v1.5 has 0, 2 and 1, which its tokenizer does not use. They affect only the pooled output, unused in SD.
TEXT_ENCODER: Settings = {
    **V1["text_encoder"], "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407,
}  # fmt: skip

# open_clip's ViT-B-16-quickgelu: the architecture of OpenAI's weights.
VIT_B_16: Settings = {
    "embed_dim": 512,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 512, "heads": 8, "layers": 12},
}

SCHEDULER: Settings = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}


@dataclass(frozen=True)
class Size:
    """The configurations of both models. `parameters`: the number of published weights of each part, if known."""

    clip: Settings
    unet: Settings
    autoencoder: Settings
    text_encoder: Settings
    parameters: Mapping[str, int]
    pixels: int  # the side of a generated image: 8 times the side of the UNet's latents
    scheduler: Settings = field(default_factory=lambda: SCHEDULER)
    # Classes of diffusers.
    pipeline_class: str = "StableDiffusionPipeline"
    scheduler_class: str = "PNDMScheduler"


FULL = Size(
    clip=VIT_B_16,
    unet=V1["unet"],
    autoencoder=V1["vae"],
    text_encoder=TEXT_ENCODER,
    parameters={"clip": 149_620_737, "unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    pixels=512,
)
CUT = Size(
    clip={
        "embed_dim": 64,
        "quick_gelu": True,
        "vision_cfg": {**VIT_B_16["vision_cfg"], "layers": 2, "width": 128, "head_width": 32},
        "text_cfg": {**VIT_B_16["text_cfg"], "layers": 2, "width": 64, "heads": 2},
    },
    unet={
        **V1["unet"], "sample_size": 8, "block_out_channels": (16, 16, 32, 32), "layers_per_block": 1,
        "cross_attention_dim": 32, "attention_head_dim": 2, "norm_num_groups": 8,
    },
    autoencoder={
        **V1["vae"], "sample_size": 64, "block_out_channels": (16, 16, 16, 16), "layers_per_block": 1,
        "norm_num_groups": 8,
    },
    text_encoder={
        **TEXT_ENCODER, "hidden_size": 32, "intermediate_size": 64, "projection_dim": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    parameters={},
    pixels=64,
)  # fmt: skip
SIZES = {"full": FULL, "cut": CUT}
