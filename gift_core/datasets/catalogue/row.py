"""A row of the catalogue: what is known about a data set before it is downloaded. The rows are rows/<name>.yaml."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Annotated

import numpy as np
import yaml
from pydantic import Field

from gift_core.config.section import Count, Section, Template, Text
from gift_core.config.tasks import ClassSliceConfig, Commit, HubSplits
from gift_core.errors import UserError, did_you_mean, lookup

Bytes = Annotated[int, Field(ge=1)]


class Archive(Section):
    """A published file of the data set. `url` is None if it is not available under a lasting link."""

    name: Text
    bytes: Bytes
    url: Text | None = None
    md5: Text | None = None


class HubCopy(Section):
    """A copy on the Hugging Face hub with the row's splits and counts, and its labels or its class names.

    It is compared with the row, as the archives are. `revision`: null for the newest commit. `numbered`: its labels are
    the positions of the classes.
    """

    repository: Text
    revision: Commit | None = None
    config: Text | None = None
    splits: HubSplits
    image_column: Text = "image"
    label_column: Text = "label"
    numbered: bool = False


class CatalogueRow(Section):
    """One data set.

    `folders`: where below the task's path the content of the archive may be, torchvision's location first.
    `required_files`: what must be there, plain or with .gz. `torchvision`: its class that downloads the data set.
    Without one it comes from the archives' urls, or `by_hand` says how to get it. `hub`: a copy; a row
    without archives has only that. `classes`: {the data set's own label: class name} in label order, none of images
    with captions. `counts` without train: a test set, which can only be a probe. In a file, `like` names the row whose
    title, page, license, templates and classes are also this one's.
    """

    name: Text
    title: Text
    page: Text
    license: Text
    split: Text
    counts: dict[Text, Count]
    torchvision: Text | None = None
    by_hand: Text | None = None
    hub: HubCopy | None = None
    archives: tuple[Archive, ...] = ()
    unpacked_bytes: Bytes
    folders: tuple[Text, ...] = ()
    required_files: tuple[Text, ...] = ()
    layout: Text = "data/{train,test}-*.parquet"
    templates: Annotated[tuple[Template, ...], Field(min_length=1)]
    classes: dict[Text, Text] = Field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names in the order of the labels."""
        return tuple(self.classes.values())

    @property
    def archive_names(self) -> str:
        """The names of the archives in one line."""
        return ", ".join(archive.name for archive in self.archives)


def catalogue_names() -> tuple[str, ...]:
    """Returns the names of all data sets, sorted."""
    rows = (files(__package__) / "rows").iterdir()
    return tuple(sorted(row.name.removesuffix(".yaml") for row in rows if row.name.endswith(".yaml")))


def catalogue_row(name: str, location: str) -> CatalogueRow:
    """Returns the row of data set `name`. UserError, beginning with `location`, for an unknown name."""
    lookup(dict.fromkeys(catalogue_names()), name, location)
    return _read_row(name)


@cache
def _read_row(name: str) -> CatalogueRow:
    text = (files(__package__) / "rows" / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    if (other := content.pop("like", None)) is not None:
        shared = _read_row(other).model_dump(include={"title", "page", "license", "templates", "classes"})
        content = {**shared, **content}
    # through JSON, whose strict mode accepts a list for a tuple
    return CatalogueRow.model_validate_json(json.dumps({"name": name, **content}))


def sliced_classes(row: CatalogueRow, config: ClassSliceConfig | None, key: str) -> dict[str, str]:
    """Returns {label: class name} of a slice of the classes in its order, or of all classes for None.

    UserError, beginning with `key`, for a slice that ends after the last class, and for a data set without a benchmark
    order.
    """
    if config is None:
        return dict(row.classes)
    end = config.first + config.count
    if end > len(row.classes):
        what = f"first {config.first} and count {config.count} end at class {end}, but {row.name} has"
        raise UserError(f"{key}.classes: {what} {len(row.classes)}. Write a smaller first or count.")
    labels, order = tuple(row.classes), list(range(len(row.classes)))
    if config.order == "benchmark":  # in which class-incremental benchmarks learn the classes
        text = files("gift_core").joinpath("published/cil_class_orders.json").read_text(encoding="utf-8")
        orders = {name: each for name, each in json.loads(text).items() if name != "note"}
        if row.name not in orders:
            what = f"{row.name} has no benchmark order. {did_you_mean(row.name, orders)} Or write: labels"
            raise UserError(f"{key}.classes.order: {what}")
        order = orders[row.name]
        if isinstance(order, int):  # a seed
            order = np.random.RandomState(order).permutation(len(labels)).tolist()
    return {labels[number]: row.classes[labels[number]] for number in order[config.first : end]}
