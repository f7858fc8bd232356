"""A data set as lists of images that have not been decoded yet: samples, splits, few-shot samples and class names."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gift_core.artifacts.table_files import text_lines
from gift_core.artifacts.task import SPLITS, Captions
from gift_core.config.tasks import OwnTaskConfig
from gift_core.datasets.spelling import comparison_key, default_class_name, plain_name, require_sound_labels
from gift_core.errors import UserError, did_you_mean
from gift_core.quantities import first_names, plural
from gift_core.seeds import seed_for

VALIDATION = "validation"
MIN_PAIRS = 2  # images of a split with captions: a pair is contrasted with others
NAMED = 5  # the number of files or classes that an error names
_NUMBER = re.compile(r"[0-9]+")
_INNER_HYPHEN = re.compile(r"(?<=\w)-(?=\w)")  # of t-shirt, and not of -1


@dataclass(frozen=True)
class Sample:
    """An image and its label, as the data set spells it. In a task of pairs its captions, one a line.

    `name` identifies the image in messages; it is a path below the data set's folder. Its `size` bytes begin at byte
    `offset` of `file`, or are what `load` returns. `split` is train, test, validation, or empty if there are no splits.
    """

    label: str
    name: str
    size: int
    file: Path = Path()
    offset: int = 0
    split: str = ""
    load: Callable[[], bytes] | None = None

    def read(self, most: int | None = None) -> bytes:
        """Returns the bytes of the image file, or the first `most` of them. Safe to call from several threads."""
        if self.load is not None:
            return self.load()[:most]
        with self.file.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size if most is None else min(most, self.size))


@dataclass(frozen=True)
class Listing:
    """What a reader found: the images of a data set in their order, of all splits.

    `location` begins the errors. `notes` are for the reader of the results, and `left_out` notes are the last ones.
    `folder_of` has the folder of each label, if labels are folders. `classes` and `templates` are those of a published
    data set, whose classes are known beforehand.
    """

    samples: Sequence[Sample]
    location: str
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    folder_of: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    templates: tuple[str, ...] = ()


Splits = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True)
class Dataset:
    """The samples of both splits in their order.

    `classes` is {label: class name}. The number of a class is its position in it. `notes` are for the reader of the
    results: "incomplete: 3,000 of 3,334 training images". `validation`: a third split, which only `gift search` reads.
    `by_seed`: GIFT made the test split, by test_fraction.
    """

    classes: Mapping[str, str]
    templates: tuple[str, ...]
    train: Sequence[Sample]
    test: Sequence[Sample]
    notes: tuple[str, ...] = ()
    validation: Sequence[Sample] = ()
    by_seed: bool = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names in the order of their numbers."""
        return tuple(self.classes.values())

    @property
    def counts(self) -> dict[str, int]:
        """The number of samples in each split."""
        return {"train": len(self.train), "test": len(self.test)}

    @property
    def described(self) -> str:
        """What its images have: "20 classes"."""
        return f"{len(self.classes)} classes"

    def targets(self) -> Callable[[Sample], int | Captions]:
        """Returns what gives the number of a sample's class."""
        numbers = {label: number for number, label in enumerate(self.classes)}
        return lambda sample: numbers[sample.label]

    def lack(self, found: Collection[int | Captions]) -> str | None:
        """Returns what a training split with only the targets `found` lacks, and what to do about it."""
        missing = [name for number, name in enumerate(self.class_names) if number not in found]
        if not missing:
            return None
        return f"no training image of class {missing[0]!r} can be decoded. Replace its images, or remove the class."


@dataclass(frozen=True)
class PairDataset(Dataset):
    """A data set whose labels are captions: those of an image, one a line.

    Its classes are the training captions that stand for the task in the vocabulary.
    """

    @property
    def captions(self) -> dict[str, int]:
        """The number of captions in each split."""
        return {
            split: sum(len(captions_of(sample)) for sample in samples)
            for split, samples in zip(SPLITS, (self.train, self.test), strict=True)
        }

    @property
    def described(self) -> str:
        """What its images have: "400 captions"."""
        return f"{sum(self.captions.values()):,} captions"

    def targets(self) -> Callable[[Sample], int | Captions]:
        """Returns what gives a sample's captions."""
        return captions_of

    def lack(self, found: Collection[int | Captions]) -> str | None:
        """Returns what a training split with the images of these captions lacks."""
        if len(found) >= MIN_PAIRS:
            return None
        return f"fewer than {MIN_PAIRS} training images can be decoded. Replace the images."


def captions_of(sample: Sample) -> Captions:
    """Returns the captions of an image of a PairDataset."""
    return tuple(sample.label.split("\n"))


def class_dataset(listing: Listing, config: OwnTaskConfig, *, folder: Path, task: str, seed: int) -> Dataset:
    """Returns the data set with its splits and the names of its classes.

    Classes are sorted by the names of their folders, other labels by value if all are numbers, as text otherwise.
    UserError as split_listing and name_classes, for a class with a single image that had to be split, for fewer than
    two classes, for a class that only the test split has, and for a label that cannot be one.
    """
    location = listing.location
    splits, by_seed = split_listing(listing, config.test_fraction, seed=seed, group=lambda sample: sample.label)
    require_sound_labels((sample.label for split in SPLITS for sample in splits[split]), location)
    train, test = (dict.fromkeys(sample.label for sample in splits[split]) for split in SPLITS)
    if by_seed and (single := [label for label in train if label not in test]):
        what = f"class {single[0]!r} has only one image, which cannot be split into training and test"
        raise UserError(f"{location}: {what}. Add images, or remove the class.")
    if unknown := sort_labels(test.keys() - train.keys()):
        what = f"class {unknown[0]!r} is in the test split but not in the training split"
        raise UserError(f"{location}: {what}. Add training images of it, or remove its test images.")
    if len(train) < 2:
        only = f"only one class ({next(iter(train))})" if train else "no class"
        raise UserError(f"{location}: there is {only}, but a task needs at least two. Add images of another class.")
    labels = sorted(train) if listing.folder_of else sort_labels(train)
    classes = name_classes(labels, config, folder=folder, task=task, folder_of=listing.folder_of)
    untested = [name for label, name in classes.items() if label not in test]
    what = "1 class has" if len(untested) == 1 else f"{len(untested)} classes have"
    note = (f"{what} no test images: {first_names(untested)}.",) if untested else ()
    notes = (*listing.notes, *note, *listing.left_out)
    validation = [sample for sample in splits[VALIDATION] if sample.label in classes]
    return Dataset(classes, config.templates, splits["train"], splits["test"], notes, validation, by_seed=by_seed)


def split_listing(
    listing: Listing, test_fraction: float | None, *, seed: int, group: Callable[[Sample], str]
) -> tuple[Splits, bool]:
    """Returns the samples of train, test and validation in their order, and whether the test split is made by seed.

    That is so if no sample is of the test split. Then it is `test_fraction` of each group (rounded, at least one sample
    is left for training), sampled with a seed of its own, so the split of a group does not depend on the others.
    UserError if `test_fraction` is needed and not given.
    """
    validation = [sample for sample in listing.samples if sample.split == VALIDATION]
    rest = [sample for sample in listing.samples if sample.split != VALIDATION]
    test = {index for index, sample in enumerate(rest) if sample.split == "test"}
    by_seed = not test
    if by_seed:
        if test_fraction is None:
            what = "the data set has no test split, and the row no test_fraction"
            raise UserError(f"{listing.location}: {what}. Write test_fraction: 0.2 into the row, or add a test split.")
        indices_of: dict[str, list[int]] = {}
        for index, sample in enumerate(rest):
            indices_of.setdefault(group(sample), []).append(index)
        for name, indices in indices_of.items():
            order = np.random.default_rng(seed_for("split", seed, name)).permutation(len(indices))
            count = min(max(round(test_fraction * len(indices)), 1), len(indices) - 1)
            test.update(indices[position] for position in order[:count])
    train = [sample for index, sample in enumerate(rest) if index not in test]
    return {"train": train, "test": [rest[index] for index in sorted(test)], VALIDATION: validation}, by_seed


def validation_note(name: str, count: int) -> tuple[str, ...]:
    """Returns a note on the images of a validation split, which is left out. `name` is its folder or value."""
    return (f"{plural(count, 'image')} left out: {name} is a validation split.",) if count else ()


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Returns the distinct labels: by value if all are numbers (2 before 10), as text otherwise."""
    distinct = set(labels)
    if all(_NUMBER.fullmatch(label) for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct)


def sample_shots(dataset: Dataset, shots: int, *, task: str, seed: int) -> Dataset:
    """Returns the data set with `shots` training samples of each class, in their order. The test split stays complete.

    Each class is sampled without replacement, with a seed of its own. UserError for a class with fewer samples.
    """
    indices_of: dict[str, list[int]] = {label: [] for label in dataset.classes}
    for index, sample in enumerate(dataset.train):
        indices_of[sample.label].append(index)
    chosen: set[int] = set()
    for label, class_name in dataset.classes.items():
        indices = indices_of[label]
        if len(indices) < shots:
            images = "1 training image" if len(indices) == 1 else f"{len(indices)} training images"
            what = f"{shots} shots are more than class {class_name!r} has ({images})"
            raise UserError(f"params.yaml: tasks.{task}.shots: {what}. Write {len(indices)} or fewer, or add images.")
        order = np.random.default_rng(seed_for("shots", seed, task, class_name)).permutation(len(indices))
        chosen.update(indices[position] for position in order[:shots])
    train = tuple(sample for index, sample in enumerate(dataset.train) if index in chosen)
    return dataclasses.replace(dataset, train=train)


def nearest_name(folder: Path, name: str) -> str | None:
    """Returns the file in the sub-folder of the missing file `name` whose name is most similar, or None."""
    wanted = folder / name
    try:
        names = sorted(path.name for path in wanted.parent.iterdir())
    except (OSError, ValueError):  # no folder, or a name that no folder can have
        return None
    near = difflib.get_close_matches(wanted.name, names, n=1)
    return (wanted.parent / near[0]).relative_to(folder).as_posix() if near else None


def name_classes(
    labels: Sequence[str], config: OwnTaskConfig, *, folder: Path, task: str, folder_of: Mapping[str, str]
) -> dict[str, str]:
    """Returns {label: class name} in the order of `labels`. Without class_names in the row: default_class_name.

    `folder_of` has the folder of each label, which errors name instead of it. UserError if the class_names of the row
    do not fit these labels, or if two labels have the same name.
    """
    names, key = config.class_names, f"params.yaml: tasks.{task}.class_names"
    if names is None:
        found = {label: default_class_name(label) for label in labels}
        key = f"params.yaml: tasks.{task}.path: {config.path}" if folder_of else key
    elif isinstance(names, str):
        found = _names_from_file(labels, folder / names, f"{key}: {names}")
    else:
        found = _names_from_mapping(labels, names, key)
    return _require_distinct(found, key, folder_of)


def _names_from_mapping(labels: Sequence[str], spelled: Mapping[str, str], key: str) -> dict[str, str]:
    names = {plain_name(label): name for label, name in spelled.items()}
    for label in names:
        if label not in labels:
            raise UserError(f"{key}.{label}: the data has no such label. {did_you_mean(label, labels)}")
    unnamed = [label for label in labels if label not in names]
    if unnamed:
        more = f" and {len(unnamed) - 1} more labels have" if len(unnamed) > 1 else " has"
        raise UserError(f'{key}: {unnamed[0]!r}{more} no name. Add a line: "{unnamed[0]}": <its name>')
    return {label: plain_name(names[label]) for label in labels}


def _names_from_file(labels: Sequence[str], path: Path, location: str) -> dict[str, str]:
    """Each line names the label at its position. A file that lists just the labels, in any order, renames none."""
    if not path.is_file():
        texts = [file.name for file in path.parent.glob("*.txt")] if path.parent.is_dir() else []
        raise UserError(f"{location}: there is no such file in the task's path. {did_you_mean(path.name, texts)}")
    names = [plain_name(line) for line in text_lines(path, location)]
    if sorted(names) == sorted(labels):
        return {label: label for label in labels}
    ordered = sort_labels(labels)
    if len(names) != len(ordered):
        shown = ", ".join(ordered[:NAMED]) + (", ..." if len(ordered) > NAMED else "")
        what = f"{len(names)} names for {len(ordered)} labels ({shown})"
        raise UserError(f"{location}: {what}. Write one name per line, in the order of the labels.")
    for label, name in zip(ordered, names, strict=True):
        if name != label and name in labels:
            what = f"{name!r} is itself a label of the data, but its line names the label {label!r}"
            raise UserError(f"{location}: {what}. Sort the lines like the labels, or write class_names as a mapping.")
    by_label = dict(zip(ordered, names, strict=True))
    return {label: by_label[label] for label in labels}


def _require_distinct(names: dict[str, str], location: str, folder_of: Mapping[str, str]) -> dict[str, str]:
    """Raises UserError for an unsound name, and for names that a text encoder cannot tell apart."""
    require_sound_labels(names.values(), location)
    labels_of: dict[str, list[str]] = {}
    for label, name in names.items():
        labels_of.setdefault(comparison_key(_INNER_HYPHEN.sub(" ", name)), []).append(label)
    for same in labels_of.values():
        name = names[same[0]]
        if not name:
            raise UserError(f"{location}: class {same[0]!r} has an empty name. Rename it, or set class_names.")
        if len(same) > 1:
            what = f"{', '.join(folder_of.get(label, label) for label in same)} have {_likeness(names, same)}"
            raise UserError(f"{location}: {what}. Rename them, or give them different names in class_names.")
    return names


def _likeness(names: Mapping[str, str], labels: Sequence[str]) -> str:
    if len({names[label] for label in labels}) == 1:
        return f"the same class name, {names[labels[0]]!r}"
    differ_by_hyphens = len({comparison_key(names[label]) for label in labels}) > 1
    return f"class names that CLIP {'can hardly' if differ_by_hyphens else 'cannot'} tell apart"
