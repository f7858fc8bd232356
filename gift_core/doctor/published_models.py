"""The configurations of the models that the presets name, for estimates before they are on this machine.

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
PIPELINES: Mapping[str, Mapping[str, Settings]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": {
        "unet": UNET, "vae": AUTOENCODER, "text_encoder": TEXT_ENCODER, "safety_checker": SAFETY_CHECKER,
    },
    "IDKiro/sdxs-512-dreamshaper": SDXS,
}  # fmt: skip
CLIPS: Mapping[str, dict[str, Any]] = {  # model_cfg of open_clip
    "hf-hub:timm/vit_medium_patch32_clip_224.tinyclip_laion400m": {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 512, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 6},
    }
}
