"""A data set looked at closely: every image decoded, and how many each class has."""

from __future__ import annotations

import io
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from gift_core.progress import progress
from gift_core.tasks.catalogue.inventory import Inventory, take_inventory
from gift_core.tasks.catalogue.row import CatalogueRow
from gift_core.tasks.found import SPLITS, Found

_BATCH = 1024  # images in flight


@dataclass(frozen=True)
class Balance:
    """How many images a split's classes have, and the names of those that have none."""

    least: int
    median: float
    most: int
    empty: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """What was found; `unreadable`: (file, reason) of each image that cannot be decoded, in the order of the splits."""

    inventory: Inventory
    balances: Mapping[str, Balance]
    unreadable: tuple[tuple[str, str], ...]

    @property
    def sound(self) -> bool:
        """True for the official data set, every image of which can be decoded."""
        return self.inventory.state == "complete" and not self.unreadable


def verify(row: CatalogueRow, path: Path) -> Verification:
    """Counts and decodes the data set in `path`, on all cores, with a progress bar."""
    inventory = take_inventory(row, path)
    images = [image for split in SPLITS for image in inventory.splits[split]]
    unreadable = tuple(progress(_unreadable(images), len(images), f"verify {row.name}")) if images else ()
    balances = {split: _balance(row, inventory.splits[split]) for split in SPLITS}
    return Verification(inventory, balances, tuple(fault for fault in unreadable if fault))


def _unreadable(images: Sequence[Found]) -> Iterator[tuple[str, str] | None]:
    """Yields (file, reason) for each image that cannot be decoded and None for each other, in their order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without Python's lock
        for start in range(0, len(images), _BATCH):
            yield from pool.map(_fault, images[start : start + _BATCH])


def _fault(image: Found) -> tuple[str, str] | None:
    try:
        with Image.open(io.BytesIO(image.read())) as opened:
            opened.load()
    except UnidentifiedImageError:
        return image.name, "not an image"
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error and others
        return image.name, (str(error).splitlines() or [type(error).__name__])[0]
    return None


def _balance(row: CatalogueRow, images: Sequence[Found]) -> Balance:
    found = Counter(image.label for image in images)
    counts = [found[label] for label in row.classes]
    empty = tuple(name for label, name in row.classes.items() if not found[label])
    return Balance(min(counts), statistics.median(counts), max(counts), empty)
