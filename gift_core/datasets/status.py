"""The data sets that an experiment needs, one's own and published ones: which are there, and which images decode."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import CatalogueTaskConfig, OwnDataConfig, TaskConfig
from gift_core.datasets.bad_images import BadImageError
from gift_core.datasets.catalogue.inventory import Inventory, take_inventory
from gift_core.datasets.catalogue.row import CatalogueRow, catalogue_row
from gift_core.datasets.dataset import Dataset, Sample
from gift_core.datasets.decoding import decoded_image, in_order, read_image
from gift_core.datasets.ingest import open_dataset
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.progress import progress


@dataclass(frozen=True)
class UserDataset:
    """A data set of the user's, by the name of its task. `dataset` is None if ingest would refuse it: see `fault`."""

    name: str
    path: Path
    dataset: Dataset | None
    fault: str = ""

    @property
    def state(self) -> str:
        """Whether it is complete, missing or wrong."""
        return "complete" if self.dataset else "wrong" if self.path.exists() else "missing"

    @property
    def suffices(self) -> bool:
        """Whether ingest would read it."""
        return self.dataset is not None

    @property
    def counts(self) -> dict[str, int]:
        """The number of images in each split."""
        return self.dataset.counts if self.dataset else {"train": 0, "test": 0}

    @property
    def size(self) -> int:
        """The bytes of its images."""
        return sum(sample.size for sample in (*self.dataset.train, *self.dataset.test)) if self.dataset else 0

    def record(self) -> dict[str, Any]:
        """Returns the data set as plain values for JSON, with the keys of a published one."""
        return {
            "data_set": self.name,
            "tasks": [self.name],
            "state": self.state,
            "suffices": self.suffices,
            **{split: {"found": count, "expected": None} for split, count in self.counts.items()},
            "bytes": self.size,
            "path": self.path.as_posix(),
            "faults": [self.fault] if self.fault else [],
        }


def own_tasks(tasks: Mapping[str, TaskConfig]) -> dict[str, TaskConfig]:
    """Returns the tasks that are neither of the miniature benchmark nor of the catalogue."""
    return {name: row for name, row in tasks.items() if isinstance(row, OwnDataConfig)}


def open_own(name: str, task: TaskConfig, *, seed: int, root: Path) -> UserDataset:
    """Returns the data set of a task as ingest lists it. No image is decoded."""
    path = root / task.path
    try:
        return UserDataset(name, path, open_dataset(name, task, seed=seed, root=root))
    except UserError as error:
        return UserDataset(name, path, None, str(error))


@dataclass(frozen=True)
class RawDataset:
    """A data set and its folder. `tasks` read it there. `allow_partial`: a part of it is enough for all of them."""

    row: CatalogueRow
    path: Path
    tasks: tuple[str, ...] = ()
    allow_partial: bool = False


@dataclass(frozen=True)
class DatasetStatus:
    """What is in the folder of a data set."""

    raw: RawDataset
    inventory: Inventory

    @property
    def suffices(self) -> bool:
        """False if a task reads the data set and there is less than the task accepts."""
        partial_is_enough = self.raw.allow_partial and any(self.inventory.splits.values())
        return not self.raw.tasks or self.inventory.state == "complete" or partial_is_enough

    def record(self) -> dict[str, Any]:
        """Returns the status as plain values for JSON. "bytes" is the size of the images."""
        inventory = self.inventory
        counts = {
            split: {"found": inventory.count(split), "expected": expected}
            for split, expected in inventory.row.counts.items()
        }
        return {
            "data_set": inventory.row.name,
            "tasks": list(self.raw.tasks),
            "state": inventory.state,
            "suffices": self.suffices,
            **counts,
            "bytes": inventory.size,
            "path": self.raw.path.as_posix(),
            "faults": list(inventory.faults),
        }


def datasets_in_use(tasks: Mapping[str, TaskConfig], *, root: Path) -> list[RawDataset]:
    """Returns the data sets that the tasks read, one for each folder. UserError for an unknown data set."""
    readers: dict[tuple[str, str], dict[str, CatalogueTaskConfig]] = {}
    for task, config in tasks.items():
        if isinstance(config, CatalogueTaskConfig):
            catalogue_row(config.dataset, f"params.yaml: tasks.{task}.dataset")
            readers.setdefault((config.dataset, config.path), {})[task] = config
    return [
        RawDataset(
            catalogue_row(name, "params.yaml"),
            root / path,
            tuple(rows),
            all(row.allow_partial for row in rows.values()),
        )
        for (name, path), rows in readers.items()
    ]


def datasets_named(names: Iterable[str], tasks: Mapping[str, TaskConfig], *, root: Path) -> list[RawDataset]:
    """Returns the named data sets: where tasks read them, otherwise in data/0_raw/<name>.

    UserError for an unknown name.
    """
    in_use = datasets_in_use(tasks, root=root)
    found: list[RawDataset] = []
    for name in dict.fromkeys(names):
        row = catalogue_row(name, "gift data")
        found += [raw for raw in in_use if raw.row.name == name] or [RawDataset(row, Layout(root).raw(name))]
    return found


def status_of(raws: Sequence[RawDataset]) -> list[DatasetStatus]:
    """Returns what is in the folders of data sets. Files are listed, no image is decoded."""
    return [DatasetStatus(raw, take_inventory(raw.row, raw.path)) for raw in progress(raws, len(raws), "data sets")]


@dataclass(frozen=True)
class Balance:
    """The number of images per class in a split, and the names of the classes that have none."""

    least: int
    median: float
    most: int
    empty: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """`balances`: {split: balance}. `unreadable`: (file, reason) of each image that cannot be decoded, train first."""

    inventory: Inventory
    balances: Mapping[str, Balance]
    unreadable: tuple[tuple[str, str], ...]

    @property
    def sound(self) -> bool:
        """Whether it is the official data set and every image can be decoded."""
        return self.inventory.state == "complete" and not self.unreadable


def verify(row: CatalogueRow, path: Path) -> Verification:
    """Counts and decodes the data set in `path`, with a progress bar."""
    inventory = take_inventory(row, path)
    samples = [sample for split in SPLITS for sample in inventory.splits[split]]
    faults = tuple(progress(in_order(_fault, samples), len(samples), f"verify {row.name}")) if samples else ()
    balances = {split: _balance(row, inventory.splits[split]) for split in SPLITS}
    return Verification(inventory, balances, tuple(fault for fault in faults if fault))


def _fault(sample: Sample) -> tuple[str, str] | None:
    """Returns (file, reason) for an image that cannot be decoded."""
    try:
        decoded_image(read_image(sample))
    except BadImageError as error:
        return sample.name, str(error)
    return None


def _balance(row: CatalogueRow, samples: Sequence[Sample]) -> Balance:
    found = Counter(sample.label for sample in samples)
    counts = [found[label] for label in row.classes]
    empty = tuple(name for label, name in row.classes.items() if not found[label])
    return Balance(min(counts), statistics.median(counts), max(counts), empty)
