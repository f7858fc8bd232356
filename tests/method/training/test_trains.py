"""What is trained: each kind trains what it says, adapters end as plain weights, and runs continue as before."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.layers import layer_factors
from gift_core.clip.model import Clip
from gift_core.clip.trained import TRAINS, lora, training_mode
from gift_core.config.method_options import MethodConfig
from gift_core.method.methods import build_method
from gift_core.method.training.loop import LossRow, training_run
from tests.clip.tiny import tiny_clip
from tests.method.training.tiny_training import gift, other_teacher, run, training

LORA: dict[str, Any] = {"kind": "lora", "rank": 2, "alpha": 4.0, "targets": ["attn", "c_fc"]}
ADAPTED = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight")
FOLLOWING = ("visual.ln_post.", "visual.proj", "ln_final.", "text_projection")
SECOND_BLOCKS = ("visual.transformer.resblocks.1.", "transformer.resblocks.1.")
MERGE = {"merge": {"kind": "interpolate", "alpha": 0.25}}
deep_clip = partial(tiny_clip, layers=2)
# kind: (options, whether a parameter is trained)
KINDS: dict[str, tuple[dict[str, Any], Any]] = {
    "image_tower": ({}, lambda name: name.startswith("visual.")),
    "text_tower": ({}, lambda name: not name.startswith("visual.")),
    "last_blocks": ({"blocks": 1}, lambda name: name.startswith((*SECOND_BLOCKS, *FOLLOWING))),
    "lora": (LORA, lambda name: name.endswith(ADAPTED)),
}


def row(kind: str = "", **changes: Any) -> MethodConfig:
    trains = {"trains": {"kind": kind, **KINDS[kind][0]}} if kind else {}
    return gift(**trains, **changes)


def trained(config: MethodConfig, **options: Any) -> tuple[list[LossRow], dict[str, torch.Tensor]]:
    clip = deep_clip()
    rows = run(clip, config, replay=other_teacher(), **options)
    return rows, clip.model.state_dict()


@pytest.mark.parametrize("kind", TRAINS)
def test_a_kind_trains_what_it_says_and_all_else_keeps_its_bytes(kind: str) -> None:
    start = deep_clip()
    _, weights = trained(row(kind))
    assert list(weights) == list(start.model.state_dict())
    moved = {name for name, value in start.model.state_dict().items() if not torch.equal(value, weights[name])}
    assert moved == set(filter(KINDS[kind][1], start.trainable()))


def features(clip: Clip) -> torch.Tensor:
    images_BCHW = torch.randn(3, 3, clip.image_size, clip.image_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.cat([encode_images(clip, images_BCHW), encode_tokens(clip, tokenize(clip, ["a cat.", "a dog."]))])


def test_merged_adapters_give_the_features_of_the_model_with_adapters() -> None:
    clip, options = deep_clip(), {key: value for key, value in LORA.items() if key != "kind"}
    before, start = features(clip), copy.deepcopy(clip.model.state_dict())
    objects = dict(clip.model.named_parameters())
    with training_mode(clip, lambda each: lora(each, **options)) as found:
        torch.testing.assert_close(features(clip), before)  # B is 0
        with torch.no_grad():
            for value in found.parameters.values():
                value.add_(0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(2)))
        adapted = features(clip)
        name = "transformer.resblocks.0.mlp.c_fc"
        a, b = (found.parameters[f"{name}.parametrizations.weight.0.{each}"].detach().clone() for each in "AB")
        assert set(found.weights) == set(filter(KINDS["lora"][1], start))
        for name_, value in found.weights.items():
            assert torch.equal(value, start[name_])  # not changed by passes through the model
    assert not torch.allclose(adapted, before, atol=1e-2)
    torch.testing.assert_close(features(clip), adapted, rtol=0, atol=1e-5)
    expected = start[f"{name}.weight"] + LORA["alpha"] / LORA["rank"] * b @ a
    torch.testing.assert_close(clip.model.get_parameter(f"{name}.weight").detach(), expected)
    assert list(objects) == [name for name, _ in clip.model.named_parameters()]
    assert all(value is objects[name] for name, value in clip.model.named_parameters())


def test_each_task_has_other_adapters_at_the_start() -> None:
    settings, starts = training(), []
    for prompts in (["a cat.", "a dog."], ["a car.", "a bus."]):
        method = build_method(row("lora"))
        with training_run(deep_clip(), prompts, method=method, training=settings, rates=[], seed=42) as opened:
            starts += [value.detach().clone() for name, value in opened.parameters.items() if name.endswith(".A")]
    half = len(starts) // 2
    assert not any(torch.equal(one, other) for one, other in zip(starts[:half], starts[half:], strict=True))


def test_the_merge_after_a_task_acts_on_the_merged_weights() -> None:
    start, (_, end), (_, merged) = deep_clip().model.state_dict(), trained(row("lora")), trained(row("lora", **MERGE))
    expected = {name: 0.25 * end[name] + 0.75 * value for name, value in start.items()}
    torch.testing.assert_close(dict(merged), expected, rtol=0, atol=1e-6)


def test_the_factor_of_a_layer_is_the_decay_to_the_power_of_the_layers_above_it() -> None:
    names = {
        "visual.conv1.weight": 0.125, "positional_embedding": 0.125, "token_embedding.weight": 0.125,
        "visual.transformer.resblocks.0.mlp.c_fc.weight": 0.25, "transformer.resblocks.0.ln_1.bias": 0.25,
        "visual.transformer.resblocks.1.attn.parametrizations.in_proj_weight.0.A": 0.5,
        "text_projection": 1.0, "visual.proj": 1.0,
    }  # fmt: skip
    assert layer_factors(deep_clip(), names, decay=0.5) == names


def test_each_layer_learns_at_its_rate() -> None:
    start = deep_clip()
    _, weights = trained(row(layer_decay=0.5, consolidation={"kind": "none"}), iterations=1, warmup_iterations=0)
    for name, factor in layer_factors(start, start.trainable(), decay=0.5).items():
        if not name.endswith("in_proj_bias"):  # the gradient of the keys' bias is 0
            moved = (weights[name] - start.model.state_dict()[name]).abs().max().item()
            assert moved == pytest.approx(1e-3 * factor, rel=2e-2), name  # AdamW's first step is the rate
