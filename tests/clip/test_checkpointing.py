"""Checkpointed towers give the same gradients and keep less; towers that do not support it are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.model import CustomTextCLIP
from transformers import BertConfig, BertModel

from gift_core.clip.checkpointing import checkpointed
from gift_core.clip.encoding import encode_images, encode_tokens
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.training.loop import training_mode
from tests.clip.tiny import CONTEXT, tiny_clip, tiny_config

TIMM = {"timm_model_pretrained": False, "timm_proj": "linear", "image_size": 32}


def timm_tower(name: str, pool: str) -> Clip:
    return _custom(TIMM | {"timm_model_name": name, "timm_pool": pool}, {})


def transformers_text_tower(tmp_path: Path) -> Clip:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    BertModel(BertConfig(vocab_size=49408, **sizes, **no_dropout)).save_pretrained(tmp_path)
    text = {"hf_model_name": str(tmp_path), "hf_model_pretrained": False, "hf_pooler_type": "mean_pooler"}
    return _custom({}, text | {"hf_proj_type": "linear"})


def _custom(vision: dict[str, Any], text: dict[str, Any]) -> Clip:
    config = tiny_config()
    config["model_cfg"]["vision_cfg"] |= vision
    config["model_cfg"]["text_cfg"] |= text
    config["preprocess_cfg"]["size"] = [config["model_cfg"]["vision_cfg"]["image_size"]] * 2
    torch.manual_seed(0)
    return dataclasses.replace(tiny_clip(), model=CustomTextCLIP(**config["model_cfg"]).eval(), config=config)


FAMILIES: dict[str, Callable[[Path], Clip]] = {
    "open_clip transformer": lambda folder: tiny_clip(),
    "open_clip ResNet": lambda folder: tiny_clip(tower="resnet"),
    "own text tower": lambda folder: _custom({"layers": 2}, {"layers": 2}),
    "timm transformer": lambda folder: timm_tower("test_vit", "token"),
    "timm convolutions": lambda folder: timm_tower("test_resnet", "avg"),
    "transformers text tower": transformers_text_tower,
}


@pytest.fixture(params=FAMILIES)
def clip(request: pytest.FixtureRequest, tmp_path: Path, device: torch.device) -> Clip:
    clip = FAMILIES[request.param](tmp_path)
    return dataclasses.replace(clip, model=clip.model.to(device))


def gradients(clip: Clip) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Gradients of a loss of both towers, and the bytes that each tower keeps for the backward pass."""
    generator = torch.Generator().manual_seed(1)
    images_BCHW = torch.randn(3, 3, clip.image_size, clip.image_size, generator=generator).to(clip.device)
    tokens_NL = torch.randint(1, 400, (4, CONTEXT), generator=generator).to(clip.device)
    weights = {value.untyped_storage().data_ptr() for value in clip.model.parameters()}
    kept: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1] += 0 if tensor.untyped_storage().data_ptr() in weights else tensor.nbytes
        return tensor

    features = []
    for encode in (lambda: encode_images(clip, images_BCHW), lambda: encode_tokens(clip, tokens_NL)):
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            features.append(encode())
    kept_forward = list(kept)  # the backward pass computes layers again and counts them again
    (features[0] @ features[1].T).pow(3).sum().backward()
    found = {name: value.grad.clone() for name, value in clip.trainable().items() if value.grad is not None}
    clip.model.zero_grad()
    return found, kept_forward


def test_gradients_equal_those_of_plain_towers_less_is_kept_and_the_towers_are_restored(clip: Clip) -> None:
    with training_mode(clip):
        plain, kept_plain = gradients(clip)
        state = list(clip.model.state_dict())
        with checkpointed(clip):
            assert list(clip.model.state_dict()) == state
            saved, kept_saved = gradients(clip)
        assert gradients(clip)[1] == kept_plain
    assert list(saved) == list(plain) and len(plain) > 10
    for name, expected in plain.items():
        torch.testing.assert_close(saved[name], expected, rtol=0, atol=1e-6 * max(1.0, expected.abs().max().item()))
    for own, whole in zip(kept_saved, kept_plain, strict=True):
        assert own < 0.8 * whole, (kept_saved, kept_plain)


def test_a_tower_without_support_is_refused_and_the_other_is_restored() -> None:
    clip = tiny_clip()
    clip.model.text = torch.nn.Linear(2, 2)
    expected = r"text tower \(Linear\) does not support it: it has no layers"
    with pytest.raises(UserError, match=expected), checkpointed(clip):
        pass
    assert not clip.model.visual.transformer.grad_checkpointing
