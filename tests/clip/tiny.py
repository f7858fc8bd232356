"""A tiny open_clip model with random weights, made from a configuration: no hub, no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP
from PIL import Image

from gift_core.clip.model import Clip
from tests.artifacts.damage import encoded

torch.set_num_threads(1)
CONTEXT = 24
CPU = torch.device("cpu")
TOKENIZER = open_clip.SimpleTokenizer(context_length=CONTEXT)  # building it takes longer than a model


def tiny_config(*, tower: str = "vit", layers: int = 1) -> dict[str, Any]:
    """open_clip_config.json of a 16 px model: a ViT with so many layers, or a ResNet with BatchNorm (32 px)."""
    vision: dict[str, Any] = {"image_size": 16, "layers": layers, "width": 32, "head_width": 16, "patch_size": 8}
    if tower == "resnet":
        vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
    text = {"context_length": CONTEXT, "vocab_size": 49408, "width": 16, "heads": 2, "layers": layers}
    preprocessing = {"size": [vision["image_size"]] * 2, "mode": "RGB", "mean": [0.48, 0.45, 0.40]}
    preprocessing |= {"std": [0.26, 0.25, 0.27], "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}
    model = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    return {"model_cfg": model, "preprocess_cfg": preprocessing}


def tiny_clip(
    *, tower: str = "vit", layers: int = 1, seed: int = 0, precision: str = "fp32", device: torch.device = CPU
) -> Clip:
    """The model of `tiny_config` with weights from `seed` and open_clip's default tokenizer, on `device`."""
    torch.manual_seed(seed)
    config = tiny_config(tower=tower, layers=layers)
    model = CLIP(**config["model_cfg"]).eval().to(device)
    return Clip(model, TOKENIZER, config, precision)


def tiny_model(*, quick: bool = False) -> CLIP:
    """open_clip's class with random weights, half of whose activations differ from zero."""
    torch.manual_seed(3)
    model = CLIP(**tiny_config()["model_cfg"], quick_gelu=quick).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return model


def picture(seed: int, *, width: int = 16, height: int = 16) -> Image.Image:
    """A random RGB image."""
    levels = np.random.default_rng(seed).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def png(seed: int, *, width: int = 16, height: int = 16) -> bytes:
    """The PNG file of `picture`."""
    return encoded(picture(seed, width=width, height=height))


@dataclass(frozen=True)
class Picture:
    """A PNG in memory with its label, in place of an image in a task's tar."""

    image: bytes
    label: int

    def read(self) -> bytes:
        """The bytes of the PNG."""
        return self.image
