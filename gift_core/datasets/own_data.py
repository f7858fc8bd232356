"""The user's own data sets: which of them ingest would read, and which of their images cannot be decoded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import (
    CatalogueTaskConfig,
    FolderTaskConfig,
    MiniTaskConfig,
    TableTaskConfig,
    TaskConfig,
    WebDatasetTaskConfig,
)
from gift_core.datasets.dataset import Dataset
from gift_core.datasets.decoding import decode_dataset
from gift_core.datasets.duplicates import DuplicateWatch
from gift_core.datasets.ingest import open_dataset
from gift_core.errors import UserError
from gift_core.progress import progress

OwnTask = FolderTaskConfig | TableTaskConfig | WebDatasetTaskConfig


@dataclass(frozen=True)
class OwnDataset:
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


def own_tasks(tasks: Mapping[str, TaskConfig]) -> dict[str, OwnTask]:
    """Returns the tasks that are neither of the miniature benchmark nor of the catalogue."""
    return {name: row for name, row in tasks.items() if not isinstance(row, MiniTaskConfig | CatalogueTaskConfig)}


def open_own(name: str, task: OwnTask, *, seed: int, root: Path) -> OwnDataset:
    """Returns the data set of a task as ingest lists it. No image is decoded."""
    path = root / task.path
    try:
        return OwnDataset(name, path, open_dataset(name, task, seed=seed, root=root))
    except UserError as error:
        return OwnDataset(name, path, None, str(error))


def decode_own(own: OwnDataset, stored: IngestConfig) -> tuple[list[tuple[str, str]], list[str]]:
    """Decodes every image as ingest does, with a progress bar, and keeps none.

    Returns [(file, reason)] of those that cannot be decoded, training images first, and the notes of ingest: what is
    left out, duplicates.
    """
    if own.dataset is None:
        return [], []
    watch = DuplicateWatch()
    source = decode_dataset(watch.watch(own.dataset), own.name, on_bad_image="refuse", stored=stored)
    with suppress(UserError):  # at the end, it names the first images of source.skipped
        for _ in progress(chain(source.train, source.test), sum(own.counts.values()), f"verify {own.name}"):
            pass
    return source.skipped, [*source.notes, *source.late_notes, *watch.notes()]
