"""Judges of one generated image: an aesthetic score and a safety checker, both with models that the user names.

They see one image at a time, in float32, so that a resumed run decides as an uninterrupted one.
D is the embedding size of the scorer (gift_core/generators/filters.py).
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gift_core.errors import UserError

if TYPE_CHECKING:
    import torch
    from PIL import Image

HEAD_KEY = "params.yaml: generator.filters.aesthetic.head"
SAFETY_KEY = "params.yaml: generator.filters.safety_checker"


@dataclass(frozen=True)
class AestheticHead:
    """A linear function of the scorer's features, as LAION's aesthetic predictors are."""

    weight_D: np.ndarray
    bias: float

    def score(self, image_D: np.ndarray) -> float:
        """Returns the score of an image with these features (D, unit norm)."""
        return float(image_D @ self.weight_D + self.bias)


def load_head(path: Path, size: int) -> AestheticHead:
    """Returns the head in a state dict of one or more linear layers, .safetensors or a file of torch.save.

    Layers follow each other without an activation, as in both of LAION's predictors (laion-ai/aesthetic-predictor and
    christophschuhmann/improved-aesthetic-predictor). `size`: D. UserError for a file that is missing, damaged, or no
    head for features of this size.
    """
    import torch
    from safetensors.torch import load_file

    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        order = {name: [int(number) for number in re.findall(r"\d+", name)] for name in state}
        weight, bias = np.eye(size), np.zeros(size)
        for name in sorted((name for name in state if name.endswith("weight")), key=order.__getitem__):
            layer = state[name].double().numpy()
            own = state.get(f"{name.removesuffix('weight')}bias")
            bias = layer @ bias + (0.0 if own is None else own.double().numpy())
            weight = layer @ weight
        if weight.shape[0] != 1:
            raise ValueError("its last layer should give one number")
    except Exception as error:  # torch, safetensors and numpy raise many kinds of errors
        what = f"it has no linear layers from {size} numbers to a score ({' '.join(str(error).split()[:30])})"
        raise UserError(f"{HEAD_KEY}: {path}: {what}. Use a head for the features of filters.scorer.") from error
    return AestheticHead(weight[0].astype(np.float32), float(bias[0]))


@dataclass(frozen=True)
class SafetyChecker:
    """The safety checker of Stable Diffusion 1, or another model with its classes (diffusers)."""

    model: Any
    processor: Any
    device: torch.device

    def is_unsafe(self, image: Image.Image) -> bool:
        """Returns whether the model finds one of its concepts in the image."""
        import torch

        pixels = self.processor(images=[image.convert("RGB")], return_tensors="pt").pixel_values
        with torch.inference_mode():
            _, flags = self.model(clip_input=pixels.to(self.device), images=[np.zeros((1, 1, 3))])
        return bool(flags[0])


def load_safety_checker(name: str, device: torch.device) -> SafetyChecker:
    """Returns the checker of a folder or a hub name. UserError where diffusers cannot load it."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    # It warns of each image that it blocks; the manifest counts them.
    logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker").setLevel(logging.ERROR)
    try:
        model = StableDiffusionSafetyChecker.from_pretrained(name)
        processor = CLIPImageProcessor.from_pretrained(name)
    except Exception as error:  # diffusers, the hub and torch raise many kinds of errors
        reason = " ".join(str(error).split()[:60])
        raise UserError(f"{SAFETY_KEY}: diffusers cannot load {name} ({reason}). Check the name.") from error
    return SafetyChecker(model.eval().to(device), processor, device)
