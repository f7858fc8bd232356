"""A row of params.yaml's tasks: where a data set comes from. `path` is what the pipeline watches for changes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gift_core.config.sections import Template
from gift_core.section import Count, Section, Text


class MiniTaskConfig(Section):
    """A task of the embedded miniature world; its images are drawn, and split, by seed."""

    source: Literal["mini"]
    path: Literal["gift_core/mini"]
    train_images: Count
    test_images: Count


class FolderTaskConfig(Section):
    """A folder of images, one sub-folder a class: path/{train,test}/<class>/*, or path/<class>/* and a seeded split.

    `test_fraction` (of each class) counts only where the folder has no train/ and test/ of its own.
    """

    source: Literal["folder"]
    path: Text
    templates: Annotated[tuple[Template, ...], Field(min_length=1)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    on_bad_image: Literal["refuse", "skip"]


TaskConfig = Annotated[MiniTaskConfig | FolderTaskConfig, Field(discriminator="source")]
