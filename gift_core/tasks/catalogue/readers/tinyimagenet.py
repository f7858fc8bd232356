"""Tiny ImageNet: train/<wnid>/images, and val with a table of its labels, which serves as the test."""

from __future__ import annotations

from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents, Pair, contents_of, list_classes, read_lines, reading


def read(folder: Path) -> Contents:
    """Returns the training images by class and name, and the validation images in the order of their table."""
    train = [(label, f"train/{name}") for label, name in list_classes(folder / "train", "images/*.JPEG")]
    return contents_of(folder, train=train, test=_list_validation(folder / "val" / "val_annotations.txt"))


def _list_validation(path: Path) -> list[Pair]:
    with reading(path):
        rows = [line.split("\t")[:2] for line in read_lines(path)]  # file, wnid, and a box
        return [(label, f"val/images/{file}") for file, label in rows]
