"""Tiny models, and files of weights in the formats of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP
from open_clip.utils import to_2tuple

from tests.clip.tiny import CONTEXT, tiny_config

SIDE = 16


def tiny_model(*, quick: bool = False) -> CLIP:
    """open_clip's class with random weights, half of whose activations differ from zero."""
    torch.manual_seed(3)
    model = CLIP(**tiny_config()["model_cfg"], quick_gelu=quick).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return model


def openai_weights(model: CLIP, path: Path) -> Path:
    """The state_dict of what OpenAI published: half precision, with three buffers that describe the model."""
    sizes = {"input_resolution": to_2tuple(model.visual.image_size)[0], "context_length": model.context_length}
    buffers = {name: torch.tensor(value) for name, value in {**sizes, "vocab_size": 49408}.items()}
    torch.save({name: value.half() for name, value in model.state_dict().items()} | buffers, path)
    return path


def features(model: Any) -> torch.Tensor:
    """[2, D]: unit features of one random picture and one text."""
    torch.manual_seed(0)
    tokens_NL = open_clip.SimpleTokenizer(context_length=CONTEXT)(["a photo of a cat."])
    with torch.no_grad():
        image_BD = model.encode_image(torch.randn(1, 3, SIDE, SIDE), normalize=True)
        return torch.cat([image_BD, model.encode_text(tokens_NL, normalize=True)])
