"""What of a model is trained: everything, one tower, the last blocks, or low-rank adapters.

R rank, O I rows and columns of a weight.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d
from torch.nn import MultiheadAttention
from torch.nn.utils import parametrize

from gift_core.clip.layers import layers_of, tower_of
from gift_core.clip.model import Clip
from gift_core.errors import UserError, did_you_mean

ADAPTER = re.compile(r"\.parametrizations\.\w+\.0\.[AB]$")  # the end of the names of A and B
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


class Adapter(torch.nn.Module):
    """A parametrization: the weight becomes W + alpha / rank * B @ A (Hu et al. 2022).

    A [R, I] is random, from torch's generator, and B [O, R] is 0, so at first the weight is W.
    """

    def __init__(self, weight_OI: torch.Tensor, *, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight_OI.shape
        a_RI = torch.nn.init.kaiming_uniform_(torch.empty(rank, columns), a=math.sqrt(5))  # as torch.nn.Linear
        self.A = torch.nn.Parameter(a_RI.to(weight_OI))
        self.B = torch.nn.Parameter(weight_OI.new_zeros(rows, rank))
        self.scale = alpha / rank

    def forward(self, weight_OI: torch.Tensor) -> torch.Tensor:
        return weight_OI + self.scale * (self.B @ self.A)


@contextmanager
def lora(clip: Clip, *, rank: int, alpha: float, targets: Sequence[str]) -> Iterator[Trained]:
    """Yields the matrices A and B of an adapter for each layer in `targets`, the ends of layers' names, such as c_fc.

    When the block ends, they are merged into the weights. UserError for a target without a layer that an adapter can
    change.
    """
    weights = {name: clip.model.get_parameter(name) for name in _chosen_weights(clip, targets)}
    adapted = []
    for name, weight in weights.items():
        layer_name, _, weight_name = name.rpartition(".")
        layer = clip.model.get_submodule(layer_name)
        adapted.append((layer, weight_name, [*layer._parameters]))
        parametrize.register_parametrization(layer, weight_name, Adapter(weight, rank=rank, alpha=alpha))
    try:
        yield Trained({name: value for name, value in clip.model.named_parameters() if ADAPTER.search(name)}, weights)
    finally:
        for layer, weight_name, order in adapted:
            parametrize.remove_parametrizations(layer, weight_name)  # merges, and puts the weight last
            layer._parameters.update({name: layer._parameters.pop(name) for name in order})


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


def _chosen_weights(clip: Clip, targets: Sequence[str]) -> list[str]:
    """The names of the weights of the layers whose names end with a target."""
    layers = _possible_layers(clip)
    chosen = dict[str, list[str]]()
    for target in targets:
        of_target = {name: weights for name, weights in layers.items() if f".{name}".endswith(f".{target}")}
        if not of_target:
            known = {name.rpartition(".")[2] for name in layers}
            raise UserError(f"trains.targets: no layer's name ends with {target!r}. {did_you_mean(target, known)}")
        chosen |= of_target
    return [name for weights in chosen.values() for name in weights]


def _possible_layers(clip: Clip) -> dict[str, list[str]]:
    """The names of the weights of each trainable linear layer and attention. The projections inside are part of it.

    The attention pool of a ResNet has no adapters (docs/decisions/0067).
    """
    whole = (MultiheadAttention, AttentionPool2d)
    inside = tuple(f"{name}." for name, module in clip.model.named_modules() if isinstance(module, whole))
    layers = dict[str, list[str]]()
    for name, module in clip.model.named_modules():
        if isinstance(module, MultiheadAttention):
            layers[name] = [f"{name}.in_proj_weight", f"{name}.out_proj.weight"]
        elif isinstance(module, torch.nn.Linear) and not name.startswith(inside):
            layers[name] = [f"{name}.weight"]
    trainable = clip.trainable()
    return {name: weights for name, weights in layers.items() if weights[0] in trainable}
