"""Oxford-IIIT Pet: a line an image, "<breed>_<number> <class> <species> <breed of the species>"."""

from __future__ import annotations

from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents, Pair, contents_of, read_lines, reading


def read(folder: Path) -> Contents:
    """Returns the images of trainval.txt and test.txt, in their order."""
    return contents_of(folder, train=_list_split(folder, "trainval"), test=_list_split(folder, "test"))


def _list_split(folder: Path, split: str) -> list[Pair]:
    path = folder / "annotations" / f"{split}.txt"
    with reading(path):
        images = [line.split()[0] for line in read_lines(path)]
        return [(image.rsplit("_", 1)[0], f"images/{image}.jpg") for image in images]
