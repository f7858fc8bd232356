"""Tiny models, and files of weights in the formats of other libraries."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import open_clip
import pytest
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


def openai_archive(model: CLIP, path: Path) -> Path:
    """What OpenAI published: a traced model in half precision with three buffers that describe it."""
    traced = copy.deepcopy(model)
    side, length = to_2tuple(model.visual.image_size)[0], model.context_length
    del traced.context_length, traced.vocab_size
    for name, value in {"input_resolution": side, "context_length": length, "vocab_size": 49408}.items():
        traced.register_buffer(name, torch.tensor(value))
    example = torch.zeros(1, 3, side, side), torch.zeros(1, length, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: the sizes are fixed here
        script = torch.jit.trace(traced, example, check_trace=False)
    for value in script.parameters():
        value.data = value.data.half()
    script.save(str(path))
    return path


def register(monkeypatch: pytest.MonkeyPatch, **changes: dict[str, Any]) -> None:
    """Makes Tiny, Tiny-quickgelu and one architecture for each of `changes` (of Tiny) the only ones of open_clip."""
    tiny = tiny_config()["model_cfg"]
    known = {"Tiny": tiny, "Tiny-quickgelu": tiny | {"quick_gelu": True}}
    for name, change in changes.items():
        changed = copy.deepcopy(tiny)
        for section, values in change.items():
            changed[section] |= values
        known[name] = changed
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", known)


def features(model: Any) -> torch.Tensor:
    """[2, D]: unit features of one random picture and one text."""
    torch.manual_seed(0)
    tokens_NL = open_clip.SimpleTokenizer(context_length=CONTEXT)(["a photo of a cat."])
    with torch.no_grad():
        image_BD = model.encode_image(torch.randn(1, 3, SIDE, SIDE), normalize=True)
        return torch.cat([image_BD, model.encode_text(tokens_NL, normalize=True)])
