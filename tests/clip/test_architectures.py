"""Every architecture of open_clip is supported or refused with the reason; each family learns, layer by layer."""

from __future__ import annotations

import copy
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gift_core.clip.architectures import architecture_config, unsupported_reason
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.layers import layers_of, tower_of
from gift_core.clip.model import FROZEN, Clip, open_folder, save_clip
from gift_core.clip.trained import _possible_layers, lora, training_mode
from gift_core.errors import UserError
from gift_core.method.losses import align, distill
from tests.clip.families import SMALL, small_clip, small_config, without_the_hub
from tests.clip.tiny import tiny_clip
from tests.method.pair_features import loss_of, pair_features

REFUSED = {"coca_base": "its vocabulary has 64000 entries, and open_clip names no tokenizer for it"}
TEXTS = ["3 4 5", "6 7", "8 9 10 11"]


def test_every_architecture_is_supported_or_refused_with_the_reason() -> None:
    reasons = {name: unsupported_reason(open_clip.get_model_config(name)) for name in open_clip.list_models()}
    assert {name: reason for name, reason in reasons.items() if reason} == REFUSED
    assert len(reasons) > 130


def encoded(clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    images_BCHW = torch.randn(len(TEXTS), 3, clip.image_size, clip.image_size)
    return encode_images(clip, images_BCHW), encode_tokens(clip, tokenize(clip, TEXTS))


@pytest.fixture(params=sorted(SMALL))
def clip(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Clip:
    without_the_hub(monkeypatch)
    if request.param == "MobileCLIP-S1":
        # on x86 without AVX-512, oneDNN of torch 2.13 writes past its memory in FastViT's backward pass
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    return small_clip(request.param)


def test_an_iteration_with_gifts_losses_changes_both_towers(clip: Clip) -> None:
    before = copy.deepcopy(clip.model.state_dict())
    teacher_BD, teacher_ND = (features.detach().roll(1, 0) for features in encoded(clip))
    image_BD, text_ND = encoded(clip)
    torch.testing.assert_close(image_BD.norm(dim=1), torch.ones(len(TEXTS)))
    features = pair_features(image_BD, text_ND, teacher_BD, teacher_ND, torch.arange(len(TEXTS)), clip.scale)
    loss = loss_of(distill, features, temperature=2.0) + loss_of(align, features, label_smoothing=0.2)
    loss.backward()
    with_gradient = {name for name, value in clip.trainable().items() if value.grad is not None and value.grad.any()}
    assert any(name.startswith("visual.") for name in with_gradient)
    assert any(not name.startswith("visual.") for name in with_gradient)
    torch.optim.AdamW(clip.trainable().values(), lr=1e-3, weight_decay=0.1).step()
    after = clip.model.state_dict()
    assert loss.isfinite() and all(value.isfinite().all() for value in after.values() if value.is_floating_point())
    frozen = [name for name in before if name.startswith(FROZEN)]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert with_gradient <= {name for name in before if not torch.equal(before[name], after[name])}


def test_a_refused_architecture_says_why_before_anything_is_fetched() -> None:
    with pytest.raises(UserError, match=r"model.name 'coca_base': not supported: its vocabulary has 64000 entries"):
        architecture_config("coca_base")
    config = small_config("ViT-B-16-quickgelu")
    config["vision_cfg"]["image_size"] = [224, 128]
    assert unsupported_reason(config) == "its images are 224 x 128 px, crops here are squares"


def save_word_tokenizer(folder: Path) -> None:
    """Saves a tokenizer of transformers with a few words."""
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "photo": 4, "of": 5, "cat": 6}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


KINDS = ["convnext_base_w", "MobileCLIP-S1", "mt5-base-ViT-B-32", "coca_roberta-ViT-B-32"]


@pytest.mark.parametrize("clip", KINDS, indirect=True)
def test_a_folder_of_every_kind_of_tower_gives_the_same_features(clip: Clip, tmp_path: Path) -> None:
    """With a word tokenizer where the model does not use open_clip's."""
    files: tuple[Path, ...] = ()
    if clip.config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        save_word_tokenizer(tmp_path / "tokenizer")
        files = tuple(sorted((tmp_path / "tokenizer").iterdir()))
    save_clip(dataclasses.replace(clip, tokenizer_files=files), tmp_path / "model", {})
    loaded = open_folder(tmp_path / "model", device=torch.device("cpu"), precision="fp32")
    loaded = dataclasses.replace(loaded, tokenizer=clip.tokenizer)
    assert type(loaded.model) is type(clip.model)
    torch.testing.assert_close(encoded(loaded), encoded(clip))


TARGETS = ("attn", "c_fc", "fc1", "query", "wi_0")


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


def test_layers_run_in_their_order(clip: Clip) -> None:
    layers = layers_of(clip.model)
    assert all(each.blocks for each in layers.values())
    ran = modules_that_run(clip)
    for side in layers:
        found = [-layers[side].above(each) for each in ran if tower_of(each) == side and "embed" not in each]
        assert found == sorted(found) and found[-1] >= -1, (side, found)


def test_adapters_are_trained_and_merged(clip: Clip) -> None:
    ends = {each.rpartition(".")[2] for each in _possible_layers(clip)}
    targets = tuple(each for each in TARGETS if each in ends)
    with training_mode(clip, partial(lora, rank=2, alpha=2.0, targets=targets)) as trained:
        torch.cat(encoded(clip)).sum().backward()
        assert all(value.grad is not None for value in trained.parameters.values())
        with torch.no_grad():
            for value in trained.parameters.values():
                value.add_(0.05)
            clip.model.eval()
            adapted = torch.cat(encoded(clip))
    torch.testing.assert_close(torch.cat(encoded(clip)).detach(), adapted, rtol=0, atol=1e-4)


def test_a_layer_that_does_not_run_gets_no_adapter() -> None:
    clip = tiny_clip(tower="resnet")  # its attention pool uses the weights of c_proj, but not the layer
    options: dict[str, Any] = {"rank": 2, "alpha": 2.0}
    with training_mode(clip, partial(lora, targets=("c_proj",), **options)) as trained:
        assert [name for name in trained.parameters if "attnpool" in name] == []
        assert trained.parameters
    refused = training_mode(clip, partial(lora, targets=("attnpool.c_proj",), **options))
    with pytest.raises(UserError, match=r"trains.targets: no layer's name ends with 'attnpool.c_proj'"), refused:
        pass
