"""What is there of a data set, compared with what its row says there should be. Files are listed, none is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gift_core.errors import UserError
from gift_core.tasks.catalogue.contents import Contents
from gift_core.tasks.catalogue.readers.table import READERS
from gift_core.tasks.catalogue.row import CatalogueRow
from gift_core.tasks.found import SPLITS, Found

State = Literal["complete", "partial", "missing", "wrong"]
_SPLIT_WORDS = {"train": "training", "test": "test"}
_NAMED = 5  # files or classes that a fault names


@dataclass(frozen=True)
class Inventory:
    """The images that were found, by split; those under labels that the data set does not have are left out.

    state: complete; partial: less than the row says; missing: nothing; wrong: more, or other than it says. `faults`
    say what is off, a phrase each, none for a complete one. `folder` is where the archive's content lies.
    """

    row: CatalogueRow
    folder: Path
    state: State
    faults: tuple[str, ...] = ()
    splits: Mapping[str, Sequence[Found]] = field(default_factory=lambda: dict.fromkeys(SPLITS, ()))

    def count(self, split: str) -> int:
        """How many images the split has."""
        return len(self.splits[split])

    @property
    def size(self) -> int:
        """The bytes of the images found."""
        return sum(image.size for split in SPLITS for image in self.splits[split])


def take_inventory(row: CatalogueRow, path: Path) -> Inventory:
    """Returns what lies in `path`, a task's path."""
    folder, lacking = locate(row, path)
    if len(lacking) == len(row.landmarks):
        return Inventory(row, folder, "missing", (f"there is no {row.layout}",))
    if lacking:
        return Inventory(row, folder, "partial", (f"{folder} has no {', '.join(lacking)}",))
    try:
        contents = READERS[row.name](folder)
    except UserError as error:
        return Inventory(row, folder, "wrong", (str(error),))
    return _compare(row, folder, contents)


def locate(row: CatalogueRow, path: Path) -> tuple[Path, list[str]]:
    """Returns where below `path` the archive's content lies, and which landmarks are not there.

    That is the first of the row's folders with the most landmarks: people unpack archives a folder higher or deeper.
    """
    lacking = {path / folder: _lacking(row, path / folder) for folder in row.folders}
    best = min(lacking, key=lambda folder: len(lacking[folder]))
    return best, lacking[best]


def _lacking(row: CatalogueRow, folder: Path) -> list[str]:
    places = {landmark: folder / landmark for landmark in row.landmarks}
    return [
        landmark
        for landmark, place in places.items()
        if not place.exists() and not place.with_name(f"{place.name}.gz").is_file()
    ]


def _compare(row: CatalogueRow, folder: Path, contents: Contents) -> Inventory:
    everything = {"train": contents.train, "test": contents.test}
    known = {split: [image for image in everything[split] if image.label in row.classes] for split in SPLITS}
    strange = [image for split in SPLITS for image in everything[split] if image.label not in row.classes]
    wrong = _strange_labels(strange) + _counts(row, known, more=True)
    partial = _counts(row, known, more=False) + _absent(contents.absent) + _empty_classes(row, known)
    state: State = "wrong" if wrong else "partial" if partial else "complete"
    return Inventory(row, folder, state, (*wrong, *partial), known)


def _counts(row: CatalogueRow, known: Mapping[str, Sequence[Found]], *, more: bool) -> list[str]:
    """The splits that have more images than they should, or else those that have fewer."""
    off = [split for split in row.counts if len(known[split]) != row.counts[split]]
    return [
        f"{len(known[split]):,} of {row.counts[split]:,} {_SPLIT_WORDS[split]} images"
        for split in off
        if (len(known[split]) > row.counts[split]) == more
    ]


def _strange_labels(strange: Sequence[Found]) -> list[str]:
    if not strange:
        return []
    labels = Counter(image.label for image in strange)
    first = strange[0]
    what = f"{len(strange):,} images are of classes that the data set does not have"
    return [f"{what}: {', '.join(sorted(labels)[:_NAMED])} (the first: {first.name})"]


def _absent(absent: Sequence[str]) -> list[str]:
    if not absent:
        return []
    return [f"{len(absent):,} images that its lists name are not there: {', '.join(absent[:_NAMED])}"]


def _empty_classes(row: CatalogueRow, known: Mapping[str, Sequence[Found]]) -> list[str]:
    there = {image.label for split in SPLITS for image in known[split]}
    empty = [label for label in row.classes if label not in there]
    if not empty:
        return []
    return [f"{len(there)} of {len(row.classes)} classes have images, none have {', '.join(empty[:_NAMED])}"]
