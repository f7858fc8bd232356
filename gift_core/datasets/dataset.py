"""A data set as lists of images that have not been decoded yet: samples, splits, few-shot samples and class names."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gift_core.artifacts.table_files import text_lines
from gift_core.artifacts.task import SPLITS, Captions
from gift_core.config.tasks import OwnTaskConfig
from gift_core.datasets.spelling import comparison_key, default_class_name, plain_name, require_sound_labels
from gift_core.errors import UserError, did_you_mean
from gift_core.quantities import first_names, plural
from gift_core.seeds import seed_for

MIN_PAIRS = 2  # images of a split with captions: a pair is contrasted with others
NAMED = 5  # the number of files or classes that an error names
_NUMBER = re.compile(r"[0-9]+")
_INNER_HYPHEN = re.compile(r"(?<=\w)-(?=\w)")  # of t-shirt, and not of -1


@dataclass(frozen=True)
class Sample:
    """An image and its label, as the data set spells it.

    `name` identifies the image in messages; it is a path below the data set's folder. `size` is the number of bytes
    that `read` returns, as far as it is known without reading. They begin at byte `offset` of `file`, None if they are
    made when they are read.
    """

    label: str
    name: str
    read: Callable[[], bytes]
    size: int
    file: Path | None = None
    offset: int = 0


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


def require_fraction(test_fraction: float | None, location: str) -> float:
    """Returns the share of a data set without splits that is for testing. UserError if the row does not say it."""
    if test_fraction is None:
        what = "the data set has no test split, and the row no test_fraction"
        raise UserError(f"{location}: {what}. Write test_fraction: 0.2 into the row, or add a test split.")
    return test_fraction


def split_by_seed(samples: Sequence[Sample], *, test_fraction: float | None, seed: int, location: str) -> Splits:
    """Returns `test_fraction` of each class (rounded, at least one sample) as the test split, the rest for training.

    Each class is sampled with a seed of its own, so the split of a class does not depend on the other classes. Both
    splits keep the order of `samples`. UserError for a class with a single image, and without `test_fraction`.
    """
    share = require_fraction(test_fraction, location)
    indices_of: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        indices_of.setdefault(sample.label, []).append(index)
    test: set[int] = set()
    for label, indices in indices_of.items():
        if len(indices) < 2:
            what = f"class {label!r} has only one image, which cannot be split into training and test"
            raise UserError(f"{location}: {what}. Add images, or remove the class.")
        order = np.random.default_rng(seed_for("split", seed, label)).permutation(len(indices))
        count = min(max(round(share * len(indices)), 1), len(indices) - 1)
        test.update(indices[position] for position in order[:count])
    return {
        "train": [sample for index, sample in enumerate(samples) if index not in test],
        "test": [sample for index, sample in enumerate(samples) if index in test],
    }


def labels_to_learn(splits: Splits, location: str) -> list[str]:
    """Returns the labels of the training split, sorted: by value if all are numbers, as text otherwise.

    UserError for fewer than two labels, for an empty test split, for a label that only the test split has, and for one
    that is too long to be a label or has control characters.
    """
    require_sound_labels((sample.label for split in SPLITS for sample in splits[split]), location)
    train, test = ({sample.label for sample in splits[split]} for split in SPLITS)
    unknown = sort_labels(test - train)
    if unknown:
        what = f"class {unknown[0]!r} is in the test split but not in the training split"
        raise UserError(f"{location}: {what}. Add training images of it, or remove its test images.")
    if len(train) < 2:
        only = f"only one class ({next(iter(train))})" if train else "no class"
        raise UserError(f"{location}: there is {only}, but a task needs at least two. Add images of another class.")
    if not test:
        raise UserError(f"{location}: the test split is empty. Add test images, or let the data be split by seed.")
    return sort_labels(train)


def untested_classes(classes: Mapping[str, str], splits: Splits) -> tuple[str, ...]:
    """Returns a note that names the classes without test images, if there are any."""
    tested = {sample.label for sample in splits["test"]}
    untested = [name for label, name in classes.items() if label not in tested]
    if not untested:
        return ()
    what = "1 class has" if len(untested) == 1 else f"{len(untested)} classes have"
    return (f"{what} no test images: {first_names(untested)}.",)


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


def require_folder(folder: Path, location: str) -> None:
    """Raises UserError if the data set's folder does not exist."""
    if not folder.is_dir():
        raise UserError(f"{location}: there is no such folder. Put the data there, or link it.")


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
    labels: Sequence[str],
    config: OwnTaskConfig,
    *,
    folder: Path,
    task: str,
    folder_of: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Returns {label: class name} in the order of `labels`. Without class_names in the row: default_class_name.

    `folder_of` has the folder of each label, which errors name instead of it. UserError if the class_names of the row
    do not fit these labels, or if two labels have the same name.
    """
    names = config.class_names
    key = f"params.yaml: tasks.{task}.class_names"
    if names is None:
        if folder_of is not None:
            key = f"params.yaml: tasks.{task}.path: {config.path}"
        return _require_distinct({label: default_class_name(label) for label in labels}, key, folder_of or {})
    if isinstance(names, str):
        return _require_distinct(_names_from_file(labels, folder / names, f"{key}: {names}"), key, folder_of or {})
    return _require_distinct(_names_from_mapping(labels, names, key), key, folder_of or {})


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
