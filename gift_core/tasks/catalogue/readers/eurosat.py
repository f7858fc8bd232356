"""EuroSAT: a folder a class."""

from __future__ import annotations

from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents, contents_of, list_classes
from gift_core.tasks.catalogue.permutation import split_80_20


def read(folder: Path) -> Contents:
    """Returns the images split 80/20 in torchvision's order: classes by name, images by name (1, 10, 100, 1000, 2)."""
    train, test = split_80_20(list_classes(folder, "*.jpg"))
    return contents_of(folder, train=train, test=test)
