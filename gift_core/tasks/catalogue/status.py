"""Which data sets are there, and whether an experiment has what it needs. Quick: files are listed, none is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.config.tasks import TaskConfig
from gift_core.progress import progress
from gift_core.tasks.catalogue.inventory import Inventory, take_inventory
from gift_core.tasks.catalogue.needed import Place, all_places, places_of


@dataclass(frozen=True)
class DataSetStatus:
    """A data set, where it lies or should lie, and what is there."""

    place: Place
    inventory: Inventory

    @property
    def suffices(self) -> bool:
        """False where a task reads it, and there is less than the task takes."""
        partial_is_enough = self.place.allow_partial and any(self.inventory.splits.values())
        return not self.place.tasks or self.inventory.state == "complete" or partial_is_enough

    def record(self) -> dict[str, Any]:
        """Returns it as plain values, for JSON; bytes are those of the images."""
        inventory = self.inventory
        counts = {
            split: {"found": inventory.count(split), "expected": expected}
            for split, expected in inventory.row.counts.items()
        }
        return {
            "data_set": inventory.row.name,
            "tasks": list(self.place.tasks),
            "state": inventory.state,
            "suffices": self.suffices,
            **counts,
            "bytes": inventory.size,
            "path": self.place.path.as_posix(),
            "faults": list(inventory.faults),
        }


def data_set_statuses(names: Iterable[str], tasks: Mapping[str, TaskConfig], *, root: Path) -> list[DataSetStatus]:
    """Returns the status of the named data sets, or without names of the whole catalogue, those in use first."""
    named = list(names)
    places = places_of(named, tasks, root=root) if named else all_places(tasks, root=root)
    return [
        DataSetStatus(place, take_inventory(place.row, place.path))
        for place in progress(places, len(places), "data sets")
    ]
