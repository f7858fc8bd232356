"""What of a model is trained: everything, one tower, the last blocks, or low-rank adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from gift_core.clip.adapters import lora_layers
from gift_core.clip.layers import layers_of, tower_of
from gift_core.clip.model import Clip
from gift_core.errors import UserError

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

    @property
    def size(self) -> int:
        """Number of values in the trained parameters."""
        return sum(value.numel() for value in self.parameters.values())

    def groups(self, factors: Mapping[str, float]) -> dict[float, dict[str, Any]]:
        """Returns torch's parameter groups by their factor on the learning rate, which is 1 where there is none."""
        found: dict[float, dict[str, Any]] = {}
        for name, parameter in self.parameters.items():
            factor = factors.get(name, 1.0)
            found.setdefault(factor, {"params": [], "factor": factor})["params"].append(parameter)
        return found


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
    by_side = {each.side: each for each in layers_of(clip.model)}
    for side, layers in by_side.items():
        if blocks > layers.depth:
            raise UserError(f"trains.blocks: {blocks}: the {side} tower has {layers.depth} blocks. Lower it.")
    found = clip.trainable().items()
    yield _chosen({name: value for name, value in found if by_side[tower_of(name)].above(name) <= blocks})


@contextmanager
def lora(clip: Clip, *, rank: int, alpha: float, targets: tuple[str, ...], dropout: float) -> Iterator[Trained]:
    """Yields the matrices A and B of an adapter for each layer in `targets`.

    When the block ends, they are merged: the weights become W + alpha / rank * B @ A (Hu et al. 2022). UserError as of
    lora_layers.
    """
    with lora_layers(clip, rank=rank, alpha=alpha, targets=targets, dropout=dropout) as (parameters, weights):
        yield Trained(parameters, weights)


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
