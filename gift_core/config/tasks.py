"""A row of params.yaml's tasks: where a data set comes from. `path` is what the pipeline watches for changes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gift_core.config.sections import Template
from gift_core.section import Count, Section, Text

Templates = Annotated[tuple[Template, ...], Field(min_length=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class MiniTaskConfig(Section):
    """A task of the embedded miniature world; its images are drawn, and split, by seed."""

    source: Literal["mini"]
    path: Literal["gift_core/mini"]
    train_images: Count
    test_images: Count


class OwnTaskConfig(Section):
    """What every data set of a user's own has.

    `templates`: the first is trained with, testing averages over all. `test_fraction` (of each class) counts only where
    the data set has no splits of its own. `class_names`: null (as they stand in the data), a text file of `path` with a
    name a line in the order of the labels, or a mapping from the data's labels to names. `shots`: so many training
    images a class, drawn by seed; null for all.
    """

    path: Text
    templates: Templates
    test_fraction: Fraction
    on_bad_image: Literal["refuse", "skip"]
    class_names: Text | dict[str, Text] | None = None
    shots: Count | None = None


class FolderTaskConfig(OwnTaskConfig):
    """A folder of images, one sub-folder a class: path/{train,test}/<class>/*, or path/<class>/* and a seeded split."""

    source: Literal["folder"]


class TableTaskConfig(OwnTaskConfig):
    """A CSV or Parquet file in `path` with a row an image; image files are named relative to `path`.

    `split_column` holds train and test (other values are left out); null for a seeded split.
    """

    source: Literal["table"]
    table: Text
    image_column: Text
    label_column: Text
    split_column: Text | None = None


class WebDatasetTaskConfig(OwnTaskConfig):
    """WebDataset tars in `path`, by shell patterns relative to it; `test` null for a seeded split.

    `label` is the extension that holds a sample's label: a number, a name, or with "json:<key>" a key of its JSON.
    """

    source: Literal["webdataset"]
    train: Text
    test: Text | None = None
    label: Text


class ClassSliceConfig(Section):
    """Some of a data set's classes: `count` of them from place `first` on, in the benchmark's order or the labels'."""

    order: Literal["benchmark", "labels"]
    first: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=2)]


class CatalogueTaskConfig(Section):
    """A data set of the catalogue (`gift data status` lists them), in its official layout in `path`.

    `templates` null: the catalogue's. `shots`: so many training images a class, drawn by seed; null for all. `classes`:
    a slice of them, null for all. `allow_partial`: counts other than the official ones are no error, but reported.
    """

    source: Literal["catalogue"]
    dataset: Text
    path: Text
    templates: Templates | None = None
    shots: Count | None = None
    classes: ClassSliceConfig | None = None
    allow_partial: bool = False
    on_bad_image: Literal["refuse", "skip"] = "refuse"


TaskConfig = Annotated[
    MiniTaskConfig | FolderTaskConfig | TableTaskConfig | WebDatasetTaskConfig | CatalogueTaskConfig,
    Field(discriminator="source"),
]
