"""Which data sets of the catalogue an experiment needs, and where each lies or should lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gift_core.config.tasks import CatalogueTaskConfig, TaskConfig
from gift_core.layout import Layout
from gift_core.tasks.catalogue.row import CatalogueRow, catalogue_names, catalogue_row


@dataclass(frozen=True)
class Place:
    """A data set in a folder; `tasks` read it there. `allow_partial`: all of them do with a part of it."""

    row: CatalogueRow
    path: Path
    tasks: tuple[str, ...] = ()
    allow_partial: bool = False


def places_in_use(tasks: Mapping[str, TaskConfig], *, root: Path) -> list[Place]:
    """Returns the data sets that the tasks read, a place for each folder; UserError for an unknown data set."""
    readers: dict[tuple[str, str], dict[str, CatalogueTaskConfig]] = {}
    for task, config in tasks.items():
        if isinstance(config, CatalogueTaskConfig):
            catalogue_row(config.dataset, f"params.yaml: tasks.{task}.dataset")
            readers.setdefault((config.dataset, config.path), {})[task] = config
    return [
        Place(catalogue_row(name, "params.yaml"), root / path, tuple(rows), all(r.allow_partial for r in rows.values()))
        for (name, path), rows in readers.items()
    ]


def places_of(names: Iterable[str], tasks: Mapping[str, TaskConfig], *, root: Path) -> list[Place]:
    """Returns the places of the named data sets: where tasks read them, else data/0_raw/<name>.

    UserError for an unknown name, which suggests the nearest.
    """
    in_use = places_in_use(tasks, root=root)
    places: list[Place] = []
    for name in dict.fromkeys(names):
        row = catalogue_row(name, "gift data")
        used = [place for place in in_use if place.row.name == name]
        places += used or [Place(row, Layout(root).raw(name))]
    return places


def all_places(tasks: Mapping[str, TaskConfig], *, root: Path) -> list[Place]:
    """Returns the places of the whole catalogue: those in use first, in the tasks' order."""
    in_use = [place.row.name for place in places_in_use(tasks, root=root)]
    return places_of((*in_use, *catalogue_names()), tasks, root=root)
