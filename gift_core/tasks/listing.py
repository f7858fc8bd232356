"""A data set as a list of its images, before any of them is decoded: what every reader gives to ingestion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One image: its label, its name for messages (a path below the data set's folder), and how its bytes are read.

    `size` is the number of bytes that `read` returns, as far as it is known without reading (for the disk check).
    """

    label: int
    name: str
    read: Callable[[], bytes]
    size: int


@dataclass(frozen=True)
class Listing:
    """Class names, templates, and the items of both splits in their order. A label is an index into class_names.

    `notes` are for whoever reads the result: "incomplete: 3,000 of 3,334 training images".
    """

    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    train: Sequence[Item]
    test: Sequence[Item]
    notes: tuple[str, ...] = ()
