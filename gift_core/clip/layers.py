"""The two towers: their layers by the names of their parameters, and gradient checkpointing.

A checkpointed tower keeps only the inputs of its blocks and computes the rest again when needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint

from gift_core.clip.model import Clip
from gift_core.errors import UserError

RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
IMAGE_TOWER = "visual."  # begins the names of its parameters; all others belong to the text tower
# Where the towers of open_clip, timm and transformers have their blocks. The stages of a ResNet count as blocks.
BLOCKS = (
    "transformer.resblocks",
    "trunk.blocks",
    "trunk.stages",
    "trunk.layers",
    "transformer.encoder.layer",
    "transformer.block",
    "transformer.layers",
)
PARTS = ("trunk.", "transformer.")  # of a tower, whose parameters outside the blocks are split by EMBEDDINGS, too
# What comes before the blocks. Everything else outside of them follows: norms, pooling, projections.
EMBEDDINGS = {
    *("class_embedding", "positional_embedding", "token_embedding", "cls_emb", "ln_pre"),
    *("conv1", "bn1", "conv2", "bn2", "conv3", "bn3"),  # the stem of a ResNet
    *("patch_embed", "cls_token", "reg_token", "pos_embed", "norm_pre", "stem"),  # timm
    *("embeddings", "embed_tokens", "embed_positions", "layernorm_embedding"),  # transformers
}


@contextmanager
def checkpointed(clip: Clip) -> Iterator[None]:
    """Within the `with` block all blocks of both towers are checkpointed.

    UserError for a tower whose blocks are not known. open_clip's own set_grad_checkpointing is not used, because it
    silently ignores towers that do not support it, and cannot be turned off again for every tower.
    """
    paths = [path for layers in layers_of(clip.model).values() for path in layers.blocks]
    blocks: list[Any] = [clip.model.get_submodule(path.removesuffix(".")) for path in paths]
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the method of the class is visible again


@dataclass(frozen=True)
class Layers:
    """The layers of a tower. Layer 0 are the embeddings, block i is layer i + 1, and what follows is one more.

    `prefix` begins the names of the tower's parameters, and `blocks` those of each block.
    """

    prefix: str
    blocks: tuple[str, ...]

    def above(self, name: str) -> int:
        """Returns how many layers follow that of a parameter of this tower."""
        for index, block in enumerate(self.blocks):
            if name.startswith(block):
                return len(self.blocks) - index
        inner = name.removeprefix(self.prefix)
        for part in PARTS:
            inner = inner.removeprefix(part)
        return len(self.blocks) + 1 if inner.split(".")[0] in EMBEDDINGS else 0


def layers_of(model: Any) -> dict[str, Layers]:
    """Returns the layers of each tower, "image" and "text"; UserError for a tower without known blocks.

    In open_clip.CLIP the text tower is the model itself.
    """
    text = ("text.", model.text) if hasattr(model, "text") else ("", model)
    return {"image": _layers("image", IMAGE_TOWER, model.visual), "text": _layers("text", *text)}


def tower_of(name: str) -> str:
    """Returns to which tower the parameter belongs: "image" or "text"."""
    return "image" if name.startswith(IMAGE_TOWER) else "text"


def layer_factors(clip: Clip, names: Iterable[str], *, decay: float) -> dict[str, float]:
    """Returns the factor on the learning rate of each parameter: decay ** (depth of its tower + 1 - its layer)."""
    by_side = layers_of(clip.model)
    return {name: decay ** by_side[tower_of(name)].above(name) for name in names}


def _layers(side: str, prefix: str, tower: Any) -> Layers:
    names = {name for name, _ in tower.named_modules()}
    for path in BLOCKS:
        if path in names:
            children = tower.get_submodule(path).named_children()
            return Layers(prefix, tuple(f"{prefix}{path}.{name}." for name, _ in children))
    for part in ("", "trunk."):
        if part + RESNET_STAGES[-1] in names:
            return Layers(prefix, tuple(f"{prefix}{part}{stage}." for stage in RESNET_STAGES))
    raise UserError(
        f"trains, layer_decay, gradient_checkpointing: the blocks of the model's {side} tower "
        f"({type(tower).__name__}) are not known. Write trains: {{kind: image_tower}}, {{kind: text_tower}} or "
        "{kind: lora, ...}, no layer_decay, and gradient_checkpointing: false."
    )
