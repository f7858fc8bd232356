"""What of a model is trained: everything, one tower, the last blocks, or low-rank adapters.

Adapters (LoRA, Hu et al. 2022) are those of the package peft.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d
from torch.func import functional_call
from torch.nn import MultiheadAttention

from gift_core.clip.layers import layers_of, tower_of
from gift_core.clip.model import Clip
from gift_core.errors import UserError, did_you_mean

ADAPTER = "default"
Parameters = Mapping[str, torch.nn.Parameter]


@dataclass(frozen=True)
class Trained:
    """What the optimizer changes.

    `parameters` are trained, by name. `weights` are the model's own parameters that have other values afterwards: the
    same ones, or those with which the trained ones are merged.
    """

    parameters: Parameters
    weights: Parameters

    @property
    def sides(self) -> set[str]:
        """The towers with a trained parameter: "image", "text" or both."""
        return set(map(tower_of, self.parameters))

    def groups(self, factors: Mapping[str, float]) -> dict[float, dict[str, Any]]:
        """Returns torch's parameter groups by their factor on the learning rate, which is 1 where there is none."""
        groups: dict[float, dict[str, Any]] = {}
        for name, parameter in self.parameters.items():
            factor = factors.get(name, 1.0)
            groups.setdefault(factor, {"params": [], "factor": factor})["params"].append(parameter)
        return groups


Trains = Callable[[Clip], AbstractContextManager[Trained]]


@contextmanager
def everything(clip: Clip) -> Iterator[Trained]:
    """Yields all trainable parameters, as in the paper."""
    yield _chosen(clip.trainable())


@contextmanager
def one_tower(clip: Clip, *, side: str) -> Iterator[Trained]:
    """Yields the parameters of the tower: "image" or "text"."""
    yield _chosen({name: value for name, value in clip.trainable().items() if tower_of(name) == side})


@contextmanager
def last_blocks(clip: Clip, *, blocks: int) -> Iterator[Trained]:
    """Yields the last `blocks` blocks of both towers, and what follows them. UserError if a tower has fewer."""
    by_side = layers_of(clip.model)
    for side, layers in by_side.items():
        if blocks > len(layers.blocks):
            raise UserError(f"trains.blocks: {blocks}: the {side} tower has {len(layers.blocks)} blocks. Lower it.")
    trainable = clip.trainable().items()
    yield _chosen({name: value for name, value in trainable if by_side[tower_of(name)].above(name) <= blocks})


@contextmanager
def lora(clip: Clip, *, rank: int, alpha: float, targets: Sequence[str], dropout: float) -> Iterator[Trained]:
    """Yields the matrices A and B of an adapter for each layer in `targets`, the ends of layers' names, such as c_fc.

    When the block ends, they are merged: the weights become W + alpha / rank * B @ A (Hu et al. 2022). A is random,
    from torch's generator, and B is 0, so at first the model computes what it computed before. `dropout` acts on the
    input of linear layers, and not on attention. UserError if peft is missing, and for a target without a layer that an
    adapter can change.
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
        yield Trained({name: value for name, value in clip.model.named_parameters() if value.requires_grad}, weights)
    finally:
        merged = dict[str, torch.Tensor]()
        for layer_name in layers:
            with torch.no_grad():
                sums = _sums(clip.model.get_submodule(layer_name))
            merged |= {f"{layer_name}.{weight_name}": value for weight_name, value in sums.items()}
        adapted.unload()
        vars(clip.model).pop("peft_config", None)  # older versions of peft leave it there
        _put_back(clip.model, weights, merged)


# By their `kind` in params.yaml (methods.*.trains); their options are in gift_core.config.method_options.
TRAINS: Mapping[str, Callable[..., AbstractContextManager[Trained]]] = {
    "image_tower": partial(one_tower, side="image"),
    "text_tower": partial(one_tower, side="text"),
    "last_blocks": last_blocks,
    "lora": lora,
}


@contextmanager
def training_mode(clip: Clip, trains: Trains = everything) -> Iterator[Trained]:
    """Within the block the model is in training mode, and all that `trains` does not yield is frozen.

    The temperature always is. Afterwards: evaluation mode.

    # differs: BatchNorm keeps its statistics. They would drift with the task's images, and no replay loss and no
    # consolidation could hold them, since they are not parameters.
    """
    clip.model.train()
    for module in clip.model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    try:
        with trains(clip) as trained:
            for name, parameter in clip.model.named_parameters():
                parameter.requires_grad_(name in trained.parameters)
            yield trained
    finally:
        clip.model.eval()
        clip.model.zero_grad()


def _chosen(parameters: Parameters) -> Trained:
    if not parameters:
        raise UserError("trains: none of these parameters requires gradients. Unlock them, or train others.")
    return Trained(parameters, parameters)


def _chosen_layers(clip: Clip, targets: Sequence[str]) -> dict[str, torch.nn.Module]:
    """The layers whose names end with a target, by name."""
    layers = _possible_layers(clip)
    chosen = dict[str, torch.nn.Module]()
    for target in targets:
        of_target = {name: layer for name, layer in layers.items() if f".{name}".endswith(f".{target}")}
        if not of_target:
            known = {name.rpartition(".")[2] for name in layers}
            raise UserError(f"trains.targets: no layer's name ends with {target!r}. {did_you_mean(target, known)}")
        chosen |= of_target
    return chosen


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
    added = layer.get_delta_weight(ADAPTER)
    base = layer.base_layer
    if not isinstance(base, MultiheadAttention):
        return {"weight": base.weight + added}
    projection: Any = base.out_proj
    projected = projection.base_layer.weight + projection.get_delta_weight(ADAPTER)
    return {"in_proj_weight": base.in_proj_weight + added, "out_proj.weight": projected}


@torch.no_grad()
def _put_back(model: torch.nn.Module, weights: Parameters, merged: Mapping[str, torch.Tensor]) -> None:
    """peft makes new parameters for attention. The merged values go into those of before, at their position."""
    for name, weight in weights.items():
        weight.copy_(merged[name])
        layer, _, weight_name = name.rpartition(".")
        parameters = model.get_submodule(layer)._parameters
        rest = {key: value for key, value in parameters.items() if key != weight_name}
        parameters.clear()
        parameters.update({weight_name: weight, **rest})
