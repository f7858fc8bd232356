"""The data sets of the catalogue: their rows, rows/<name>.yaml, and their files compared with them. None is decoded.

A row is what is known about a data set before it is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from pydantic import Field

from gift_core.artifacts.task import SPLITS
from gift_core.config.section import Count, Section, Template, Text
from gift_core.config.tasks import (
    CatalogueTaskConfig,
    ClassSliceConfig,
    Commit,
    HubSplits,
    HubTaskConfig,
    PairsTaskConfig,
)
from gift_core.datasets.catalogue.readers import READERS, Splits, samples_of
from gift_core.datasets.dataset import NAMED, Dataset, Sample, require_caption_key, vocabulary_captions
from gift_core.datasets.hub_dataset import COMMIT, list_hub
from gift_core.datasets.spelling import comparison_key, default_class_name
from gift_core.errors import UserError, lookup

Bytes = Annotated[int, Field(ge=1)]
State = Literal["complete", "partial", "missing", "wrong"]


class Archive(Section):
    """A published file of the data set. `url` is None if it is not available under a lasting link."""

    name: Text
    bytes: Bytes
    url: Text | None = None
    md5: Text | None = None


class HubCopy(Section):
    """A copy on the Hugging Face hub with the row's splits and counts, and its labels or its class names.

    It is compared with the row, as the archives are. `revision`: null for the newest commit. `numbered`: its labels are
    the positions of the classes.
    """

    repository: Text
    revision: Commit | None = None
    config: Text | None = None
    splits: HubSplits
    image_column: Text = "image"
    label_column: Text = "label"
    numbered: bool = False


class CatalogueRow(Section):
    """One data set.

    `folders`: where below the task's path the content of the archive may be, torchvision's location first.
    `required_files`: what must be there, plain or with .gz. `torchvision`: its class that downloads the data set.
    Without one it comes from the archives' urls, or `by_hand` says how to get it. `hub`: a copy; a row
    without archives has only that. `classes`: {the data set's own label: class name} in label order, none of images
    with captions. `counts` without train: a test set, which can only be a probe. In a file, `like` names the row whose
    title, page, license, templates and classes are also this one's.
    """

    name: Text
    title: Text
    page: Text
    license: Text
    split: Text
    counts: dict[Text, Count]
    torchvision: Text | None = None
    by_hand: Text | None = None
    hub: HubCopy | None = None
    archives: tuple[Archive, ...] = ()
    unpacked_bytes: Bytes
    folders: tuple[Text, ...] = ()
    required_files: tuple[Text, ...] = ()
    layout: Text = "data/{train,test}-*.parquet"
    templates: Annotated[tuple[Template, ...], Field(min_length=1)]
    classes: dict[Text, Text] = Field(default_factory=dict)

    @property
    def archive_names(self) -> str:
        """The names of the archives in one line."""
        return ", ".join(archive.name for archive in self.archives)


def catalogue_names() -> tuple[str, ...]:
    """Returns the names of all data sets, sorted."""
    rows = (files(__package__) / "rows").iterdir()
    return tuple(sorted(row.name.removesuffix(".yaml") for row in rows if row.name.endswith(".yaml")))


def catalogue_row(name: str, location: str) -> CatalogueRow:
    """Returns the row of data set `name`. UserError, beginning with `location`, for an unknown name."""
    lookup(dict.fromkeys(catalogue_names()), name, location)
    return _read_row(name)


@cache
def _read_row(name: str) -> CatalogueRow:
    text = (files(__package__) / "rows" / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    like = content.pop("like", None)
    if like is not None:
        shared = _read_row(like).model_dump(include={"title", "page", "license", "templates", "classes"})
        content = {**shared, **content}
    # through JSON, whose strict mode accepts a list for a tuple
    return CatalogueRow.model_validate_json(json.dumps({"name": name, **content}))


def sliced_classes(row: CatalogueRow, config: ClassSliceConfig | None, key: str) -> dict[str, str]:
    """Returns {label: class name} of a slice of the classes in its order, or of all classes for None.

    UserError, beginning with `key`, for a slice that ends after the last class, and for a data set without a benchmark
    order.
    """
    if config is None:
        return dict(row.classes)
    end = config.first + config.count
    if end > len(row.classes):
        problem = f"first {config.first} and count {config.count} end at class {end}, but {row.name} has"
        raise UserError(f"{key}.classes: {problem} {len(row.classes)}. Write a smaller first or count.")
    labels = tuple(row.classes)
    order = list(range(len(labels)))
    if config.order == "benchmark":  # in which class-incremental benchmarks learn the classes
        orders = json.loads((files(__package__) / "cil_class_orders.json").read_text(encoding="utf-8"))
        del orders["note"]
        order = lookup(orders, row.name, f"{key}.classes.order: benchmark")
        if isinstance(order, int):  # a seed
            order = np.random.RandomState(order).permutation(len(labels)).tolist()
    return {labels[number]: row.classes[labels[number]] for number in order[config.first : end]}


@dataclass(frozen=True)
class Inventory:
    """What is in a folder. `dataset` has the images that were found, without those of unknown labels.

    state: complete; partial: less than the row says; missing: nothing; wrong: more than the row says, or other files.
    `faults` say what is different, one phrase each. They are stored in task.json if the user accepts them.
    """

    state: State
    faults: tuple[str, ...] = ()
    dataset: Dataset = field(default_factory=lambda: Dataset({}, ()))


def catalogue_dataset(name: str, config: CatalogueTaskConfig, *, seed: int, root: Path) -> Dataset:
    """Returns the images of task `name`, with classes in the order of the row or of the slice.

    The complete data set is counted before a slice is taken. Of a test set with captions, test captions stand for the
    task: it can only be a probe, which no prompt uses. UserError for an unknown data set, an impossible slice, and
    files that are missing or wrong. With allow_partial only having no images is an error, and `notes` say the rest.
    """
    key = f"params.yaml: tasks.{name}"
    location = f"{key}.path: {config.path}"
    row = catalogue_row(config.dataset, f"{key}.dataset")
    count = config.vocabulary_captions
    has_captions = not row.classes
    require_caption_key(key, count, has_captions=has_captions)
    classes = sliced_classes(row, config.classes, key)
    inventory = take_inventory(row, root / config.path)
    present = inventory.dataset
    is_whole = inventory.state == "complete"
    problem = f"{row.title} is {inventory.state}: {'; '.join(inventory.faults)}."
    remedy = f"`gift data fetch {row.name}` downloads {row.archive_names or 'it'}, or says how to get it."
    if not is_whole and not (config.allow_partial and any(present.counts.values())):
        raise UserError(f"{location}: {problem} {remedy} A part is enough with allow_partial: true.")
    train = [sample for sample in present.train if has_captions or sample.label in classes]
    test = [sample for sample in present.test if has_captions or sample.label in classes]
    if not test or ("train" in row.counts and not train):
        raise UserError(f"{key}: a split has no image of these classes. {remedy}")
    if count is not None:
        captions = vocabulary_captions(train or test, count, task=name, seed=seed)
        classes = {caption: caption for caption in captions}
    notes = () if is_whole else (problem,)
    return Dataset(classes, config.templates or row.templates, train, test, notes=notes, has_captions=has_captions)


def take_inventory(row: CatalogueRow, path: Path) -> Inventory:
    """Returns what is in `path`, the path of a task.

    Archives are unpacked at different depths: the first of the row's folders with the most required files is read.
    """
    is_copy = row.hub is not None and (path / COMMIT).is_file()
    folder = path
    if not is_copy:
        lacking = {path / name: _lacking(row, path / name) for name in row.folders}
        folder = min(lacking, key=lambda candidate: len(lacking[candidate]), default=path)
        required = lacking.get(folder, [])
        if len(required) == len(row.required_files):
            return Inventory("missing", (f"there is no {row.layout}",))
        if required:
            return Inventory("partial", (f"{folder} has no {', '.join(required)}",))
    try:
        splits, absent = samples_of(folder, _read_copy(row, path) if is_copy else READERS[row.name](folder))
    except Exception as error:  # scipy, json, pickle and numpy raise a dozen kinds for a wrong file
        reason = (str(error).splitlines() or [""])[0]
        problem = f"{folder} cannot be read as the official files ({type(error).__name__}: {reason})"
        return Inventory("wrong", (problem,))
    return _compare(row, splits, absent)


def _lacking(row: CatalogueRow, folder: Path) -> list[str]:
    """The required files that the folder has neither plain nor gzipped."""
    return [
        name for name in row.required_files if not (folder / name).exists() and not (folder / f"{name}.gz").is_file()
    ]


def copy_task(row: CatalogueRow, path: Path) -> HubTaskConfig | PairsTaskConfig:
    """Returns the hub's copy of a row as a task of its own."""
    copy = dict(row.hub) if row.hub else {}
    if row.classes:
        return HubTaskConfig.model_construct(path=str(path), class_names={}, **copy)
    return PairsTaskConfig.model_construct(path=str(path), caption_column=copy.get("label_column"), **copy)


def _read_copy(row: CatalogueRow, path: Path) -> Splits:
    listing = list_hub(row.name, copy_task(row, path), Path())
    spellings = dict[str, str]()
    if row.hub and row.hub.numbered:
        spellings = {str(number): label for number, label in enumerate(row.classes)}
    spellings |= {_spelled(name): label for label, name in row.classes.items()}
    spellings |= {_spelled(label): label for label in row.classes}
    distinct = {sample.label for sample in listing.samples}
    label_of = {label: spellings.get(_spelled(label), label) for label in distinct}
    samples = [replace(sample, label=label_of[sample.label]) for sample in listing.samples]
    return {split: [sample for sample in samples if sample.split == split] for split in SPLITS}


def _spelled(name: str) -> str:
    """What a label and its spellings in copies share: apse/indoor, Apse indoor."""
    return comparison_key(default_class_name(name.replace("/", " ")))


def _compare(row: CatalogueRow, splits: Mapping[str, Sequence[Sample]], absent: Sequence[str]) -> Inventory:
    wrong, partial = list[str](), list[str]()
    samples = [sample for split in SPLITS for sample in splits[split]]
    unknown = [sample for sample in samples if sample.label not in row.classes]
    train, test = splits["train"], splits["test"]
    if row.classes and unknown:
        train = [sample for sample in train if sample.label in row.classes]
        test = [sample for sample in test if sample.label in row.classes]
        labels = ", ".join(sorted({sample.label for sample in unknown})[:NAMED])
        problem = f"{len(unknown):,} images are of classes that the data set does not have"
        wrong.append(f"{problem}: {labels} (the first: {unknown[0].name})")
    dataset = Dataset(row.classes, row.templates, train, test, has_captions=not row.classes)
    for split, expected in row.counts.items():
        count = dataset.counts[split]
        fault = f"{count:,} of {expected:,} {'training' if split == 'train' else split} images"
        if count > expected:
            wrong.append(fault)
        elif count < expected:
            partial.append(fault)
    if absent:
        partial.append(f"{len(absent):,} images that its lists name are not there: {', '.join(absent[:NAMED])}")
    present = {sample.label for sample in samples}
    empty = [label for label in row.classes if label not in present]
    if empty:
        problem = f"{len(row.classes) - len(empty)} of {len(row.classes)} classes have images"
        partial.append(f"{problem}, none have {', '.join(empty[:NAMED])}")
    state: State = "partial" if partial else "complete"
    if wrong:
        state = "wrong"
    return Inventory(state, (*wrong, *partial), dataset)
