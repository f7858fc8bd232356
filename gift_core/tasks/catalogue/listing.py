"""A data set of the catalogue as a list of its images: all of it or a slice of its classes, refused if incomplete."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gift_core.config.tasks import CatalogueTaskConfig
from gift_core.errors import UserError
from gift_core.tasks.catalogue.inventory import Inventory, take_inventory
from gift_core.tasks.catalogue.row import catalogue_row
from gift_core.tasks.catalogue.slices import sliced_classes
from gift_core.tasks.found import SPLITS, list_found
from gift_core.tasks.listing import Listing


def catalogue_listing(name: str, config: CatalogueTaskConfig, *, root: Path) -> Listing:
    """Returns the images of task `name`; labels are places in the row's order, or in the slice's.

    The whole data set is counted before it is sliced. UserError for an unknown data set, a slice that it does not
    have, and whatever is missing or wrong; with allow_partial only for no image at all, and the notes say the rest.
    """
    place = f"params.yaml: tasks.{name}"
    row = catalogue_row(config.dataset, f"{place}.dataset")
    classes = sliced_classes(row, config.classes, place)
    inventory = take_inventory(row, root / config.path)
    notes = _accept(inventory, config, f"{place}.path: {config.path}")
    splits = {split: [image for image in inventory.splits[split] if image.label in classes] for split in SPLITS}
    for split, images in splits.items():
        if not images:
            raise UserError(f"{place}: the {split} split has no image of its classes. {_remedy(inventory)}")
    return dataclasses.replace(list_found(splits, classes, config.templates or row.templates), notes=notes)


def _accept(inventory: Inventory, config: CatalogueTaskConfig, place: str) -> tuple[str, ...]:
    """Returns the notes on what is other than official, where the user allows that; UserError where not."""
    if inventory.state == "complete":
        return ()
    what = f"{inventory.row.title} is {inventory.state}: {'; '.join(inventory.faults)}"
    if not any(inventory.splits.values()):
        raise UserError(f"{place}: {what}. {_remedy(inventory)}")
    if not config.allow_partial:
        raise UserError(f"{place}: {what}. {_remedy(inventory)} Or go on with what is there: allow_partial: true.")
    return (f"{what}.",)


def _remedy(inventory: Inventory) -> str:
    row = inventory.row
    if inventory.state == "missing":
        return f"Get {row.archive_names}: `gift data fetch {row.name}`."
    look = f"Look closer with `gift data verify {row.name}`"
    return f"{look}, or unpack {row.archive_names} again (`gift data fetch {row.name}` says from where)."
