"""The configurations of published models, for estimates before they are on this machine.

All numbers are counted from them (gift_core.doctor.counting).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]

# The config.json files of stable-diffusion-v1-5/stable-diffusion-v1-5, but what is the default of the class.
UNET: Settings = {"sample_size": 64, "cross_attention_dim": 768}
AUTOENCODER: Settings = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "sample_size": 512,
}
TEXT_ENCODER: Settings = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 768,
    "num_attention_heads": 12,
    # differs: v1.5 has 0, 2 and 1, which its tokenizer does not use. They affect only the pooled output, unused in SD.
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
_CHECKER = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "patch_size": 14}
SAFETY_CHECKER: Settings = {"projection_dim": 768, "vision_config": {**_CHECKER, "num_attention_heads": 16}}
_V1 = {"unet": UNET, "vae": AUTOENCODER, "text_encoder": TEXT_ENCODER, "safety_checker": SAFETY_CHECKER}

# The tiny autoencoder of SDXS has the defaults of diffusers.
SDXS: Mapping[str, Settings] = {
    "unet": {
        **UNET,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "mid_block_type": None,
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 1,
    },
    "vae": {"_class_name": "AutoencoderTiny"},
    "text_encoder": TEXT_ENCODER,
}
# Guidance is an input of the UNet.
LCM: Mapping[str, Settings] = {
    **_V1,
    "unet": {**UNET, "sample_size": 96, "time_cond_proj_dim": 256},
    "vae": {**AUTOENCODER, "sample_size": 768},
}
# The parts of Stable Diffusion 2.1.
SD_TURBO: Mapping[str, Settings] = {
    "unet": {
        **UNET, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
    },
    "vae": {**AUTOENCODER, "sample_size": 768},
    "text_encoder": {
        **TEXT_ENCODER, "hidden_size": 1024, "intermediate_size": 4096, "projection_dim": 512, "num_hidden_layers": 23,
        "num_attention_heads": 16, "hidden_act": "gelu",
    },
}  # fmt: skip
_XL: Mapping[str, Settings] = {
    "unet": {
        **UNET, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048,
        "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    },
    "vae": AUTOENCODER,
    "text_encoder": TEXT_ENCODER,
    "text_encoder_2": {
        **TEXT_ENCODER, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
        "num_attention_heads": 20,
    },
}  # fmt: skip
PIPELINES: Mapping[str, Mapping[str, Settings]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": _V1,
    "SimianLuo/LCM_Dreamshaper_v7": LCM,
    "IDKiro/sdxs-512-dreamshaper": SDXS,
    "stabilityai/stable-diffusion-2-1": SD_TURBO,
    "stabilityai/sd-turbo": SD_TURBO,
    "stabilityai/stable-diffusion-xl-base-1.0": _XL,
    "stabilityai/sdxl-turbo": _XL,
}


def _tinyclip(patch_size: int, image: tuple[int, int], text: tuple[int, int]) -> dict[str, Any]:
    """open_clip's model_cfg of a TinyCLIP, from (width, layers) of both towers."""
    (width, layers), (text_width, text_layers) = image, text
    size = {"width": text_width, "heads": text_width // 64, "layers": text_layers}
    return {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": layers, "width": width, "patch_size": patch_size},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, **size},
    }


CLIPS: Mapping[str, dict[str, Any]] = {
    "hf-hub:timm/vit_medium_patch32_clip_224.tinyclip_laion400m": _tinyclip(32, (512, 12), (512, 6)),
    "hf-hub:timm/vit_betwixt_patch32_clip_224.tinyclip_laion400m": _tinyclip(32, (640, 12), (512, 9)),
    "hf-hub:timm/vit_xsmall_patch16_clip_224.tinyclip_yfcc15m": _tinyclip(16, (256, 10), (256, 3)),
}
