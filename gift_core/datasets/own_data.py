"""The user's own data sets: which of them ingest would read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.config.tasks import (
    CatalogueTaskConfig,
    FolderTaskConfig,
    MiniTaskConfig,
    TableTaskConfig,
    TaskConfig,
    WebDatasetTaskConfig,
)
from gift_core.datasets.dataset import Dataset
from gift_core.datasets.ingest import open_dataset
from gift_core.errors import UserError

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
