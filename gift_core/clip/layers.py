"""The layers of the two towers by the names of their parameters: the embeddings, the blocks, and what follows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gift_core.clip.checkpointing import RESNET_STAGES, towers
from gift_core.clip.model import Clip
from gift_core.errors import UserError

IMAGE_TOWER = "visual."  # begins the names of its parameters; all others belong to the text tower
# Where the towers of open_clip, timm and transformers have their blocks. The stages of a ResNet count as blocks.
BLOCKS = (
    "transformer.resblocks",
    "trunk.blocks",
    "trunk.stages",
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


@dataclass(frozen=True)
class Layers:
    """The layers of a tower. Layer 0 are the embeddings, block i is layer i + 1, and what follows is `depth` + 1.

    `prefix` begins the names of the tower's parameters, and `blocks` those of each block.
    """

    side: str
    prefix: str
    blocks: tuple[str, ...]

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self.blocks)

    def above(self, name: str) -> int:
        """Returns how many layers follow that of a parameter."""
        return self.depth + 1 - self.layer_of(name)

    def layer_of(self, name: str) -> int:
        """Returns the layer of a parameter of this tower."""
        for index, block in enumerate(self.blocks):
            if name.startswith(block):
                return index + 1
        own = name.removeprefix(self.prefix)
        for part in PARTS:
            own = own.removeprefix(part)
        return 0 if own.split(".")[0] in EMBEDDINGS else self.depth + 1


def layers_of(model: Any) -> tuple[Layers, Layers]:
    """Returns the layers of the image tower and those of the text tower; UserError for a tower without known blocks."""
    text = "text." if hasattr(model, "text") else ""
    image_tower, text_tower = towers(model).values()
    return _layers("image", IMAGE_TOWER, image_tower), _layers("text", text, text_tower)


def tower_of(name: str) -> str:
    """Returns to which tower the parameter belongs: "image" or "text"."""
    return "image" if name.startswith(IMAGE_TOWER) else "text"


def layer_factors(clip: Clip, names: Iterable[str], *, decay: float) -> dict[str, float]:
    """Returns the factor on the learning rate of each parameter: decay ** (depth of its tower + 1 - its layer)."""
    by_side = {each.side: each for each in layers_of(clip.model)}
    return {name: decay ** by_side[tower_of(name)].above(name) for name in names}


def _layers(side: str, prefix: str, tower: Any) -> Layers:
    names = {name for name, _ in tower.named_modules()}
    for path in BLOCKS:
        if path in names:
            children = tower.get_submodule(path).named_children()
            return Layers(side, prefix, tuple(f"{prefix}{path}.{name}." for name, _ in children))
    for part in ("", "trunk."):
        if part + RESNET_STAGES[-1] in names:
            return Layers(side, prefix, tuple(f"{prefix}{part}{stage}." for stage in RESNET_STAGES))
    raise UserError(
        f"trains, layer_decay: the blocks of the model's {side} tower ({type(tower).__name__}) are not known. Write "
        "trains: {kind: image_tower}, {kind: text_tower} or {kind: lora, ...}, and no layer_decay."
    )
