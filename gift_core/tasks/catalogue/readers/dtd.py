"""Describable Textures: a line an image, "<class>/<file>"; ten partitions, of which the first is used."""

from __future__ import annotations

from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents, Pair, contents_of, read_lines, reading


def read(folder: Path) -> Contents:
    """Returns the images of partition 1's train and test lists, in their order."""
    return contents_of(folder, train=_list_split(folder, "train"), test=_list_split(folder, "test"))


def _list_split(folder: Path, split: str) -> list[Pair]:
    path = folder / "labels" / f"{split}1.txt"
    with reading(path):
        return [(line.split("/")[0], f"images/{line}") for line in read_lines(path)]
