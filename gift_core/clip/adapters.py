"""Low-rank adapters (LoRA, Hu et al. 2022) in the layers of a model, by the package peft."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d
from torch.func import functional_call
from torch.nn import MultiheadAttention

from gift_core.clip.model import Clip
from gift_core.errors import UserError, did_you_mean

ADAPTER = "default"
KEY = "trains.targets"
Named = dict[str, torch.nn.Parameter]


@contextmanager
def lora_layers(
    clip: Clip, *, rank: int, alpha: float, targets: Sequence[str], dropout: float
) -> Iterator[tuple[Named, Named]]:
    """Yields the adapters' parameters and the weights with which they are merged when the block ends, both by name.

    `targets` are the ends of layers' names, such as c_fc. A is random, from torch's generator, and B is 0, so at first
    the model computes what it computed before. `dropout` acts on the input of linear layers, and not on attention.

    UserError if peft is missing, and for a target without a layer that an adapter can change.
    """
    if find_spec("peft") is None:
        raise UserError("trains: lora needs another package: pip install peft. Or train something else.")
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel
    from peft.tuners.lora.layer import MultiheadAttention as Adapted

    layers = _chosen_layers(clip, targets)
    names = [_weight_name(name, layer) for name, layer in layers.items()]
    names += [f"{name}.out_proj.weight" for name, layer in layers.items() if isinstance(layer, MultiheadAttention)]
    weights = {name: clip.model.get_parameter(name) for name in names}
    pattern = "|".join(map(re.escape, layers))
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=pattern)  # type: ignore[arg-type]
    adapted = LoraModel(clip.model, config, ADAPTER)
    # peft's attention adds B @ A to the weights and subtracts it again in each pass, which changes their last bits: an
    # interrupted training would continue to other bytes. It also adds the one of out_proj twice (decisions/0067).
    for layer in clip.model.modules():
        if isinstance(layer, Adapted):
            layer.forward = partial(_attend, layer)  # type: ignore[method-assign]
    try:
        yield {name: value for name, value in clip.model.named_parameters() if value.requires_grad}, weights
    finally:
        with torch.no_grad():
            sums = {name: _sums(clip.model.get_submodule(name)) for name in layers}
        merged = {f"{name}.{own}": value for name, found in sums.items() for own, value in found.items()}
        adapted.unload()
        vars(clip.model).pop("peft_config", None)  # older versions of peft leave it there
        _put_back(clip.model, weights, merged)


def _chosen_layers(clip: Clip, targets: Sequence[str]) -> dict[str, torch.nn.Module]:
    """The layers whose names end with a target, by name."""
    layers, found = _possible_layers(clip), dict[str, torch.nn.Module]()
    for target in targets:
        own = {name: layer for name, layer in layers.items() if f".{name}".endswith(f".{target}")}
        if not own:
            known = {name.rpartition(".")[2] for name in layers}
            raise UserError(f"{KEY}: no layer's name ends with {target!r}. {did_you_mean(target, known)}")
        found |= own
    return found


def _possible_layers(clip: Clip) -> dict[str, torch.nn.Module]:
    """Linear layers and attention that are trainable. The projections inside attention are part of it.

    The attention pool of a ResNet uses the weights of its layers without the layers, so adapters would have no effect.
    open_clip looks at the type of text_projection, so that one cannot be replaced.
    """
    whole = (MultiheadAttention, AttentionPool2d)
    inside = tuple(f"{name}." for name, module in clip.model.named_modules() if isinstance(module, whole))
    trainable = clip.trainable()
    return {
        name: module
        for name, module in clip.model.named_modules()
        if not name.startswith(inside)
        and not name.endswith("text_projection")
        and _weight_name(name, module) in trainable
    }


def _weight_name(name: str, module: torch.nn.Module) -> str:
    """The name of the weight that an adapter changes, empty for a layer that cannot have one."""
    if isinstance(module, MultiheadAttention):
        return f"{name}.in_proj_weight"
    return f"{name}.weight" if isinstance(module, torch.nn.Linear) else ""


def _attend(layer: Any, *arguments: Any, **options: Any) -> Any:
    """The attention with the sums of weights and adapters. The layer itself does not change."""
    sums = _sums(layer)
    sums["out_proj.base_layer.weight"] = sums.pop("out_proj.weight")
    return functional_call(layer.base_layer, sums, arguments, options)


def _sums(layer: Any) -> dict[str, torch.Tensor]:
    """W + alpha / rank * B @ A for each weight W of a layer with adapters, by the name in the layer."""
    added, base = layer.get_delta_weight(ADAPTER), layer.base_layer
    if not isinstance(base, MultiheadAttention):
        return {"weight": base.weight + added}
    projection: Any = base.out_proj
    projected = projection.base_layer.weight + projection.get_delta_weight(ADAPTER)
    return {"in_proj_weight": base.in_proj_weight + added, "out_proj.weight": projected}


@torch.no_grad()
def _put_back(model: torch.nn.Module, weights: Named, merged: Mapping[str, torch.Tensor]) -> None:
    """peft makes new parameters for attention. The merged values go into those of before, at their position."""
    for name, weight in weights.items():
        weight.copy_(merged[name])
        layer, _, own = name.rpartition(".")
        parameters = model.get_submodule(layer)._parameters
        rest = {key: value for key, value in parameters.items() if key != own}
        parameters.clear()
        parameters.update({own: weight, **rest})
