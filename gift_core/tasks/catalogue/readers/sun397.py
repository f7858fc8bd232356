"""SUN397: <letter>/<class>, for some classes a folder deeper: a/abbey, a/apse/indoor."""

from __future__ import annotations

import os
from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents, Pair, contents_of
from gift_core.tasks.catalogue.permutation import split_80_20


def read(folder: Path) -> Contents:
    """Returns the images split 80/20 in the order of their paths.

    differs: torchvision lists them in the order in which the disk gives them, which is another one on another machine.
    """
    train, test = split_80_20(sorted(_list_images(folder), key=lambda pair: pair[1]))
    return contents_of(folder, train=train, test=test)


def _list_images(folder: Path) -> list[Pair]:
    pairs: list[Pair] = []
    for parent, _, files in os.walk(folder, followlinks=True):
        place = Path(parent).relative_to(folder)
        label = "/".join(place.parts[1:])
        images = (file for file in files if file.startswith("sun_") and file.endswith(".jpg"))
        pairs += [(label, f"{place.as_posix()}/{file}") for file in images]
    return pairs
