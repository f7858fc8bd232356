"""FGVC-Aircraft: a line an image, "<number> <variant>"."""

from __future__ import annotations

from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents, Pair, contents_of, read_lines, reading


def read(folder: Path) -> Contents:
    """Returns the images of the variants' train and test lists, in their order."""
    return contents_of(folder, train=_list_split(folder, "train"), test=_list_split(folder, "test"))


def _list_split(folder: Path, split: str) -> list[Pair]:
    path = folder / "data" / f"images_variant_{split}.txt"
    with reading(path):
        rows = [line.split(" ", 1) for line in read_lines(path)]
        return [(variant, f"data/images/{number}.jpg") for number, variant in rows]
