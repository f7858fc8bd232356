"""The raw data of an experiment, one's own and published data sets: what is there, and which images decode."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.config.tasks import CatalogueTaskConfig, UserDataConfig
from gift_core.datasets.catalogue.inventory import take_inventory
from gift_core.datasets.catalogue.row import CatalogueRow, catalogue_names, catalogue_row
from gift_core.datasets.dataset import Dataset
from gift_core.datasets.image_check import check_images, examine_images
from gift_core.datasets.ingest import open_dataset
from gift_core.errors import UserError, lookup
from gift_core.layout import Layout
from gift_core.quantities import first_names


@dataclass(frozen=True)
class RawData:
    """A folder of raw data, which `tasks` read. `row`: of a published data set; None for the images of one task.

    `allow_partial`: a part of it is enough for all of them.
    """

    name: str
    path: Path
    tasks: tuple[str, ...] = ()
    row: CatalogueRow | None = None
    allow_partial: bool = False


@dataclass(frozen=True)
class Status:
    """What is in a folder: complete, partial, missing or wrong. `suffices`: for the tasks that read it.

    `train` and `test` have how many images were `found`, and how many a published data set has (`expected`).
    """

    data_set: str
    tasks: tuple[str, ...]
    state: str
    suffices: bool
    train: Mapping[str, int | None]
    test: Mapping[str, int | None]
    bytes: int
    path: str
    faults: tuple[str, ...]


def data_in_use(config: Config, *, root: Path) -> list[RawData]:
    """Returns the data that tasks read, one for each folder, the user's own first. UserError for an unknown data set.

    Tasks of the miniature benchmark need none.
    """
    own, readers = list[RawData](), dict[tuple[str, str], dict[str, CatalogueTaskConfig]]()
    for name, task in config.tasks.items():
        if isinstance(task, UserDataConfig):
            own.append(RawData(name, root / task.path, (name,)))
        elif isinstance(task, CatalogueTaskConfig):
            readers.setdefault((task.dataset, task.path), {})[name] = task
    for (name, path), tasks in readers.items():
        row = catalogue_row(name, f"params.yaml: tasks.{next(iter(tasks))}.dataset")
        own.append(RawData(name, root / path, tuple(tasks), row, all(task.allow_partial for task in tasks.values())))
    return own


def data_named(names: Iterable[str], config: Config, *, root: Path) -> list[RawData]:
    """Returns the tasks and data sets with these names: where tasks read them, otherwise in data/0_raw/<name>.

    UserError with the nearest name for an unknown one.
    """
    in_use, found = data_in_use(config, root=root), list[RawData]()
    for name in dict.fromkeys(names):
        lookup({**{raw.name: 0 for raw in in_use}, **dict.fromkeys(catalogue_names(), 0)}, name, "gift data")
        read = [raw for raw in in_use if raw.name == name]
        found += read or [RawData(name, Layout(root).raw(name), row=catalogue_row(name, "gift data"))]
    return found


def status_of(raw: RawData, config: Config, *, root: Path) -> Status:
    """Returns what is in a folder. Files are listed, no image is decoded."""
    state, faults, dataset = open_raw(raw, config, root)
    samples = (*dataset.train, *dataset.test)
    suffices = not raw.tasks or state == "complete" or (raw.allow_partial and bool(samples))
    expected = raw.row.counts if raw.row else {}
    train, test = ({"found": count, "expected": expected.get(split)} for split, count in dataset.counts.items())
    size = sum(sample.size for sample in samples)
    return Status(raw.name, raw.tasks, state, suffices, train, test, size, raw.path.as_posix(), faults)


def verify(raw: RawData, config: Config, *, root: Path) -> tuple[bool, list[str]]:
    """Decodes every image, with a progress bar. Returns whether all is sound, and lines that say what was found.

    The user's own images are checked as by add-task --check. A published data set is sound if it is the official one.
    """
    state, faults, dataset = open_raw(raw, config, root)
    lines, samples = [f"{state} in {raw.path}", *faults], (*dataset.train, *dataset.test)
    if not samples:
        return False, lines
    if raw.row is None:
        findings = check_images(dataset, raw.name)
        counts = ", ".join(f"{count:,} {split} images" for split, count in dataset.counts.items())
        lines += [f"{counts}, {dataset.described}", *dataset.notes, *findings.lines()]
        broken = findings.broken
    else:
        lines += _balance(dataset) if dataset.classes else ()
        _, broken = examine_images(samples, raw.name)
    lines.append(f"{len(broken)} images cannot be decoded{':' if broken else ''}")
    return state == "complete" and not broken, [*lines, *(f"  {file} ({reason})" for file, reason in broken)]


def open_raw(raw: RawData, config: Config, root: Path) -> tuple[str, tuple[str, ...], Dataset]:
    """Returns the state of a folder, what is wrong with it, and the images, none if ingest would refuse it."""
    if raw.row is not None:
        found = take_inventory(raw.row, raw.path)
        dataset = Dataset(raw.row.classes, raw.row.templates, found.splits["train"], found.splits["test"])
        return found.state, found.faults, dataset
    try:
        return "complete", (), open_dataset(raw.name, config.tasks[raw.name], seed=config.seed, root=root)
    except UserError as error:
        return "wrong" if raw.path.exists() else "missing", (str(error),), Dataset({}, (), (), ())


def _balance(dataset: Dataset) -> Iterator[str]:
    """Yields the number of images per class in each split, and the classes that have none."""
    for split, samples in (("train", dataset.train), ("test", dataset.test)):
        if not samples:
            continue
        found = Counter(sample.label for sample in samples)
        counts = [found[label] for label in dataset.classes]
        spread = f"{min(counts)} to {max(counts)} per class, median {statistics.median(counts):g}"
        yield f"{split}: {len(samples):,} images, {spread}"
        if empty := [name for label, name in dataset.classes.items() if not found[label]]:
            yield f"{split}: {len(empty)} classes have none: {first_names(empty)}"
