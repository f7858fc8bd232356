"""Caltech-101: a folder a class, and one of background images that is no class."""

from __future__ import annotations

from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents, contents_of, list_classes
from gift_core.tasks.catalogue.permutation import split_80_20

IMAGES = "101_ObjectCategories"
BACKGROUND = "BACKGROUND_Google"


def read(folder: Path) -> Contents:
    """Returns the images split 80/20 in torchvision's order: classes by name, images by number."""
    pairs = [(label, f"{IMAGES}/{name}") for label, name in list_classes(folder / IMAGES, "image_*.jpg")]
    train, test = split_80_20([pair for pair in pairs if pair[0] != BACKGROUND])
    return contents_of(folder, train=train, test=test)
