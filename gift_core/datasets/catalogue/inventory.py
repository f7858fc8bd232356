"""The files of a data set of the catalogue, compared with its row, and the data set that they make. None is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import CatalogueTaskConfig
from gift_core.datasets.catalogue.contents import Contents
from gift_core.datasets.catalogue.readers import READERS
from gift_core.datasets.catalogue.row import CatalogueRow, catalogue_row, sliced_classes
from gift_core.datasets.dataset import NAMED, Listing, Sample
from gift_core.errors import UserError

State = Literal["complete", "partial", "missing", "wrong"]
_SPLIT_NAMES = {"train": "training", "test": "test"}


@dataclass(frozen=True)
class Inventory:
    """The samples that were found, without those of unknown labels.

    state: complete; partial: less than the row says; missing: nothing; wrong: more than the row says, or other files.
    `faults` say what is different, one phrase each. They are stored in task.json if the user accepts them. `folder` has
    the content of the archive.
    """

    row: CatalogueRow
    folder: Path
    state: State
    faults: tuple[str, ...] = ()
    splits: Mapping[str, Sequence[Sample]] = field(default_factory=lambda: dict.fromkeys(SPLITS, ()))

    def count(self, split: str) -> int:
        """The number of images in the split."""
        return len(self.splits[split])

    @property
    def size(self) -> int:
        """The bytes of the images that were found."""
        return sum(sample.size for split in SPLITS for sample in self.splits[split])


def list_catalogue(name: str, config: CatalogueTaskConfig, root: Path) -> Listing:
    """Returns the images of task `name`, with classes in the order of the row or of the slice.

    The complete data set is counted before a slice is taken. UserError for an unknown data set, an impossible slice,
    and files that are missing or wrong. With allow_partial only having no images is an error, and `notes` say the rest.
    """
    key = f"params.yaml: tasks.{name}"
    location = f"{key}.path: {config.path}"
    row = catalogue_row(config.dataset, f"{key}.dataset")
    classes = sliced_classes(row, config.classes, key)
    inventory = take_inventory(row, root / config.path)
    notes = _accept(inventory, config, location)
    samples: list[Sample] = []
    for split in SPLITS:
        found = [replace(sample, split=split) for sample in inventory.splits[split] if sample.label in classes]
        if not found:
            raise UserError(f"{key}: the {split} split has no image of these classes. {_remedy(inventory)}")
        samples += found
    return Listing(samples, location, notes, classes=classes, templates=config.templates or row.templates)


def _accept(inventory: Inventory, config: CatalogueTaskConfig, location: str) -> tuple[str, ...]:
    """Returns notes on what differs from the official data set, if the user allows it. UserError otherwise."""
    if inventory.state == "complete":
        return ()
    what = f"{inventory.row.title} is {inventory.state}: {'; '.join(inventory.faults)}"
    if not any(inventory.splits.values()):
        raise UserError(f"{location}: {what}. {_remedy(inventory)}")
    if not config.allow_partial:
        raise UserError(f"{location}: {what}. {_remedy(inventory)} To use what is there: allow_partial: true.")
    return (f"{what}.",)


def _remedy(inventory: Inventory) -> str:
    row = inventory.row
    if inventory.state == "missing":
        return f"Get {row.archive_names}: `gift data fetch {row.name}`."
    look = f"Run `gift data verify {row.name}` for details"
    return f"{look}, or unpack {row.archive_names} again (`gift data fetch {row.name}` says from where)."


def take_inventory(row: CatalogueRow, path: Path) -> Inventory:
    """Returns what is in `path`, the path of a task."""
    folder, lacking = _locate(row, path)
    if len(lacking) == len(row.required_files):
        return Inventory(row, folder, "missing", (f"there is no {row.layout}",))
    if lacking:
        return Inventory(row, folder, "partial", (f"{folder} has no {', '.join(lacking)}",))
    try:
        contents = READERS[row.name](folder)
    except UserError as error:
        return Inventory(row, folder, "wrong", (str(error),))
    return _compare(row, folder, contents)


def _locate(row: CatalogueRow, path: Path) -> tuple[Path, list[str]]:
    """Returns the folder with the content of the archive, and the required files that it lacks.

    It is the first of the row's folders with the most required files. Archives are unpacked at different depths.
    """
    lacking = {path / folder: _lacking(row, path / folder) for folder in row.folders}
    best = min(lacking, key=lambda folder: len(lacking[folder]))
    return best, lacking[best]


def _lacking(row: CatalogueRow, folder: Path) -> list[str]:
    paths = {name: folder / name for name in row.required_files}
    return [
        name for name, path in paths.items() if not path.exists() and not path.with_name(f"{path.name}.gz").is_file()
    ]


def _compare(row: CatalogueRow, folder: Path, contents: Contents) -> Inventory:
    everything = {"train": contents.train, "test": contents.test}
    known = {split: [sample for sample in everything[split] if sample.label in row.classes] for split in SPLITS}
    wrong: list[str] = []
    partial: list[str] = []
    if unknown := [sample for split in SPLITS for sample in everything[split] if sample.label not in row.classes]:
        labels = sorted({sample.label for sample in unknown})[:NAMED]
        what = f"{len(unknown):,} images are of classes that the data set does not have"
        wrong.append(f"{what}: {', '.join(labels)} (the first: {unknown[0].name})")
    for split, expected in row.counts.items():
        if (count := len(known[split])) != expected:
            fault = f"{count:,} of {expected:,} {_SPLIT_NAMES[split]} images"
            (wrong if count > expected else partial).append(fault)
    if absent := contents.absent:
        partial.append(f"{len(absent):,} images that its lists name are not there: {', '.join(absent[:NAMED])}")
    present = {sample.label for split in SPLITS for sample in known[split]}
    if empty := [label for label in row.classes if label not in present]:
        what = f"{len(present)} of {len(row.classes)} classes have images"
        partial.append(f"{what}, none have {', '.join(empty[:NAMED])}")
    state: State = "wrong" if wrong else "partial" if partial else "complete"
    return Inventory(row, folder, state, (*wrong, *partial), known)
