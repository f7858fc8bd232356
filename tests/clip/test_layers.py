"""In every family of architectures: the layers are in the order in which they run, and adapters can be merged."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from gift_core.clip.adapters import _possible_layers
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.layers import layers_of, tower_of
from gift_core.clip.model import Clip
from gift_core.clip.trained import lora, training_mode
from gift_core.errors import UserError
from tests.clip.families import SMALL, small_clip, without_the_hub
from tests.clip.tiny import tiny_clip

TARGETS = ("attn", "c_fc", "fc1", "query", "wi_0")


def encoded(clip: Clip) -> torch.Tensor:
    images_BCHW = torch.randn(2, 3, clip.image_size, clip.image_size, generator=torch.Generator().manual_seed(1))
    return torch.cat([encode_images(clip, images_BCHW), encode_tokens(clip, tokenize(clip, ["3 4 5", "6 7"]))])


def modules_that_run(clip: Clip) -> list[str]:
    """The names of trainable parameters whose modules run, in their order. Modules with children are left out."""
    ran: list[str] = []
    for name, module in clip.model.named_modules():
        if list(module.children()):
            continue
        own = [f"{name}.{each}" for each, _ in module.named_parameters(recurse=False)]
        module.register_forward_hook(lambda *_, own=own: ran.extend(own))
    with torch.no_grad():
        encoded(clip)
    return [name for name in ran if name in clip.trainable()]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_layers_run_in_their_order(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_hub(monkeypatch)
    clip = small_clip(name)
    layers = {each.side: each for each in layers_of(clip.model)}
    assert all(each.depth for each in layers.values())
    ran = modules_that_run(clip)
    for side in layers:
        found = [layers[side].layer_of(each) for each in ran if tower_of(each) == side and "embed" not in each]
        assert found == sorted(found) and found[-1] > 0, (side, found)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_adapters_are_trained_and_merged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_hub(monkeypatch)
    if name == "MobileCLIP-S1":  # see test_architectures.py
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    clip = small_clip(name)
    ends = {each.rpartition(".")[2] for each in _possible_layers(clip)}
    targets = tuple(each for each in TARGETS if each in ends)
    with training_mode(clip, partial(lora, rank=2, alpha=2.0, targets=targets, dropout=0.0)) as trained:
        encoded(clip).sum().backward()
        assert all(value.grad is not None for value in trained.parameters.values())
        with torch.no_grad():
            for value in trained.parameters.values():
                value.add_(0.05)
        with torch.no_grad():
            clip.model.eval()
            adapted = encoded(clip)
    torch.testing.assert_close(encoded(clip).detach(), adapted, rtol=0, atol=1e-4)


def test_a_layer_that_does_not_run_gets_no_adapter() -> None:
    clip = tiny_clip(tower="resnet")  # its attention pool uses the weights of c_proj, but not the layer
    options: dict[str, Any] = {"rank": 2, "alpha": 2.0, "dropout": 0.0}
    with training_mode(clip, partial(lora, targets=("c_proj",), **options)) as trained:
        assert [name for name in trained.parameters if "attnpool" in name] == []
        assert trained.parameters
    refused = training_mode(clip, partial(lora, targets=("attnpool.c_proj",), **options))
    with pytest.raises(UserError, match=r"trains.targets: visual.attnpool.c_proj: the model uses its"), refused:
        pass
