"""Food-101: a JSON a split, {class: [image without .jpg, ...]}."""

from __future__ import annotations

import json
from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents, Pair, contents_of, reading


def read(folder: Path) -> Contents:
    """Returns the images of train.json and test.json, in their order."""
    return contents_of(folder, train=_list_split(folder, "train"), test=_list_split(folder, "test"))


def _list_split(folder: Path, split: str) -> list[Pair]:
    path = folder / "meta" / f"{split}.json"
    with reading(path):
        classes = json.loads(path.read_text(encoding="utf-8"))
        return [(label, f"images/{image}.jpg") for label, images in classes.items() for image in images]
