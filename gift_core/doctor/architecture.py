"""How large a CLIP is, read from its open_clip configuration: no weights, no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What a plain vision transformer and a plain text transformer of open_clip may say of themselves.
_TOP = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
_VISION = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "hf_tokenizer_name"}
_OF_A_LAYER = 8  # the stream, its norm, query, key, value, what attention says, the stream again, its norm
_CHANNELS = 3


@dataclass(frozen=True)
class Tower:
    """One of the two encoders: `layers` of `width` numbers a token, `hidden` between the halves of their MLP.

    `front`: numbers kept of an item before the first layer; `others`: parameters before the first and after the last.
    """

    layers: int
    width: int
    tokens: int
    hidden: int
    front: int
    others: int

    @property
    def parameters(self) -> int:
        """Each layer: 4 w^2 + 4 w for attention, 2 w h + h + w for the MLP, 4 w for two norms; and the others."""
        width, hidden = self.width, self.hidden
        return self.layers * (4 * width**2 + 9 * width + 2 * width * hidden + hidden) + self.others

    def kept(self, *, quick_gelu: bool, checkpointing: bool) -> int:
        """Returns how many numbers autograd keeps of one image or text until the backward pass.

        Layers * tokens * (8 w + 2 h), and h more with QuickGELU, which is no fused function; with checkpointing the
        stream of every layer, tokens * w, and all of one. Attention is fused: its matrix is never kept.
        """
        stream = self.tokens * self.width
        layer = _OF_A_LAYER * stream + (3 if quick_gelu else 2) * self.tokens * self.hidden
        layers = self.layers * stream + layer if checkpointing else self.layers * layer
        return layers + self.front


@dataclass(frozen=True)
class Architecture:
    """Both towers and the activation function between their MLPs' halves."""

    vision: Tower
    text: Tower
    quick_gelu: bool

    @property
    def parameters(self) -> int:
        """Both towers' and the temperature."""
        return self.vision.parameters + self.text.parameters + 1


def read_architecture(model: Mapping[str, Any]) -> Architecture | None:
    """Returns the sizes of open_clip's `model_cfg`; None where a tower is no plain transformer (ResNet, timm, ...)."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    plain = set(model) <= _TOP and set(vision) <= _VISION and set(text) <= _TEXT
    if not plain or not isinstance(vision.get("layers"), int) or not isinstance(vision["image_size"], int):
        return None
    embed = model["embed_dim"]
    return Architecture(_vision(vision, embed), _text(text, embed), bool(model.get("quick_gelu", False)))


def _vision(config: Mapping[str, Any], embed: int) -> Tower:
    width, patch, image = config["width"], config["patch_size"], config["image_size"]
    tokens = (image // patch) ** 2 + 1
    return Tower(
        layers=config["layers"],
        width=width,
        tokens=tokens,
        hidden=int(width * config.get("mlp_ratio", 4.0)),
        front=_CHANNELS * image**2 + 3 * tokens * width,  # the pixels; patches, with positions, their norm
        others=_CHANNELS * patch**2 * width + (1 + tokens + 4 + embed) * width,
    )


def _text(config: Mapping[str, Any], embed: int) -> Tower:
    width, length = config.get("width", 512), config.get("context_length", 77)
    return Tower(
        layers=config.get("layers", 12),
        width=width,
        tokens=length,
        hidden=int(width * config.get("mlp_ratio", 4.0)),
        front=2 * length * width,
        others=(config.get("vocab_size", 49408) + length + 2 + embed) * width,
    )
