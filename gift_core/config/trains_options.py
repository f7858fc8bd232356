"""Which part of the model a method trains, in a row of the section methods. See gift_core/clip/trained.py."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gift_core.config.section import MAX_NAMES, Section, Share, Text, Weight


class TrainsOptions(Section):
    """The options of what is trained. `is_merged`: other parameters are trained, and merged into the weights."""

    is_merged: ClassVar[bool] = False
    kind: Any

    def keywords(self) -> dict[str, Any]:
        """Returns the options without the kind."""
        return self.model_dump(exclude={"kind"})


class ImageTowerOptions(TrainsOptions):
    """The image tower. The text tower stays as it was at the start."""

    kind: Literal["image_tower"]


class TextTowerOptions(TrainsOptions):
    """The text tower. The image tower stays as it was at the start."""

    kind: Literal["text_tower"]


class LastBlocksOptions(TrainsOptions):
    """The last `blocks` blocks of each tower, and what follows them."""

    kind: Literal["last_blocks"]
    blocks: Annotated[int, Field(ge=1, le=1000)]


class LoraOptions(TrainsOptions):
    """Low-rank adapters in the layers whose names end with one of `targets`, merged into the weights after each task.

    W becomes W + alpha / rank * B @ A. `dropout` acts on the input of linear layers.
    """

    is_merged: ClassVar[bool] = True
    kind: Literal["lora"]
    rank: Annotated[int, Field(ge=1, le=4096)]
    alpha: Weight
    targets: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_NAMES, strict=False)]
    dropout: Share


TrainsConfig = Annotated[
    ImageTowerOptions | TextTowerOptions | LastBlocksOptions | LoraOptions, Field(discriminator="kind")
]
