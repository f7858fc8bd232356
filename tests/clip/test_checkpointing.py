"""Checkpointed towers give the same gradients and keep less; towers that do not support it are refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.layers import checkpointed
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.method.training.loop import training_mode
from tests.clip.families import small_clip, without_the_hub
from tests.clip.tiny import tiny_clip

# The towers of open_clip, a text tower of its own, timm's transformers and convolutions, and transformers' text towers.
FAMILIES = ("vit", "resnet", "ViT-B-16-SigLIP", "convnext_base_w", "roberta-ViT-B-32")


@pytest.fixture(params=FAMILIES)
def clip(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> Clip:
    if request.param in ("vit", "resnet"):
        return tiny_clip(tower=request.param, device=device)
    without_the_hub(monkeypatch)
    clip = small_clip(request.param)
    return dataclasses.replace(clip, model=clip.model.to(device))


def gradients(clip: Clip) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Gradients of a loss of both towers, and the bytes that each tower keeps for the backward pass."""
    torch.manual_seed(1)  # also of the layers that a block drops
    images_BCHW = torch.randn(3, 3, clip.image_size, clip.image_size).to(clip.device)
    tokens_NL = tokenize(clip, ["3 4 5 6 7 8 9 10", "6 7", "8", "9 10 11"]).to(clip.device)
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
    expected = r"gradient_checkpointing: the blocks of the model's text tower \(Linear\) are not known"
    with pytest.raises(UserError, match=expected), checkpointed(clip):
        pass
    assert not any("forward" in vars(module) for module in clip.model.modules())
