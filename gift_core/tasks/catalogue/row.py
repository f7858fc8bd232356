"""A row of the catalogue: all that is known of a data set before it is on the disk. The rows are rows/<name>.yaml."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import Field

from gift_core.config.section import Count, Section, Template, Text
from gift_core.errors import lookup

if TYPE_CHECKING:
    from importlib.abc import Traversable

Texts = Annotated[tuple[Text, ...], Field(min_length=1)]


class Archive(Section):
    """A file that the data set is published as; `url` where it is served under a link that lasts."""

    name: Text
    bytes: Count
    url: Text | None = None
    md5: Text | None = None


class CatalogueRow(Section):
    """One data set.

    `folders`: where the archive's content may lie below the task's path, torchvision's place first; `landmarks`: what
    must be there, as it is or with .gz. `fetch`: torchvision's downloader, the archive's url, or by hand, and then
    `by_hand` says how. `classes`: what the data set itself calls a class -> its name for people, in label order.
    """

    name: Text
    title: Text
    page: Text
    licence: Text
    split: Text
    counts: dict[Text, Count]
    fetch: Literal["torchvision", "archive", "by_hand"]
    by_hand: Text | None = None
    archives: Annotated[tuple[Archive, ...], Field(min_length=1)]
    unpacked_bytes: Count
    folders: Texts
    landmarks: Texts
    layout: Text
    templates: Annotated[tuple[Template, ...], Field(min_length=1)]
    classes: Annotated[dict[Text, Text], Field(min_length=2)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names for people, in the order of the labels."""
        return tuple(self.classes.values())

    @property
    def archive_names(self) -> str:
        """The archives' names for a message, in one line."""
        return ", ".join(archive.name for archive in self.archives)


def catalogue_names() -> tuple[str, ...]:
    """Returns the names of all data sets, sorted."""
    return tuple(sorted(row.name.removesuffix(".yaml") for row in _rows().iterdir() if row.name.endswith(".yaml")))


def catalogue_row(name: str, place: str) -> CatalogueRow:
    """Returns the row of data set `name`; UserError that begins with `place` and suggests the nearest name."""
    lookup(dict.fromkeys(catalogue_names()), name, place)
    return _read_row(name)


@cache
def _read_row(name: str) -> CatalogueRow:
    text = _rows().joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    # through JSON: its strict mode still takes a list for a tuple
    return CatalogueRow.model_validate_json(json.dumps({"name": name, **yaml.safe_load(text)}))


def _rows() -> Traversable:
    return files("gift_core.tasks.catalogue").joinpath("rows")
