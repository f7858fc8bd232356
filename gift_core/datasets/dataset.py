"""A data set as lists of images that have not been decoded yet: samples, splits, few-shot samples and class names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gift_core.artifacts.table_files import text_lines
from gift_core.artifacts.task import Captions
from gift_core.config.tasks import UserTaskConfig
from gift_core.datasets.spelling import comparison_key, default_class_name, plain_name, require_sound_labels
from gift_core.errors import UserError, lookup
from gift_core.quantities import first_names, plural
from gift_core.seeds import seed_for

VALIDATION = "validation"
VALIDATION_NOTE = "is a validation split."  # ends the note on its images
NAMED = 5  # the number of files or classes that an error names
_INNER_HYPHEN = re.compile(r"(?<=\w)-(?=\w)")  # of t-shirt, and not of -1


@dataclass(frozen=True)
class Sample:
    """An image and its label, as the data set spells it. In a task of pairs its captions, one a line.

    `name` identifies the image in messages; it is a path below the data set's folder. `read` returns the bytes of the
    image file, about `size` of them, also in threads. `split` is train, test, validation, or empty if there are no
    splits.
    """

    label: str
    name: str
    size: int
    read: Callable[[], bytes]
    split: str = ""

    @property
    def captions(self) -> Captions:
        return tuple(self.label.split("\n"))


@dataclass(frozen=True)
class Listing:
    """What a reader found: the images of a data set in their order, of all splits. No image is decoded.

    `location` begins the errors. `notes` are for the reader of the results. Labels are sorted as text if they are
    `folders`.
    """

    samples: Sequence[Sample]
    location: str
    notes: tuple[str, ...] = ()
    folders: bool = False


@dataclass(frozen=True)
class Dataset:
    """The samples of each split in their order.

    `classes` is {label: class name}. The number of a class is its position in it. `notes` are for the reader of the
    results: "incomplete: 3,000 of 3,334 training images". `validation`: a third split, which only `gift search` reads.
    `by_seed`: GIFT made the test split, by test_fraction. `has_captions`: labels are captions, and `classes` are the
    training captions that stand for the task in the vocabulary.
    """

    classes: Mapping[str, str]
    templates: tuple[str, ...]
    train: Sequence[Sample] = ()
    test: Sequence[Sample] = ()
    validation: Sequence[Sample] = ()
    notes: tuple[str, ...] = ()
    by_seed: bool = False
    has_captions: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """The number of samples in each split."""
        return {"train": len(self.train), "test": len(self.test)}

    @property
    def size(self) -> int:
        """The bytes of the images that are ingested."""
        return sum(sample.size for sample in (*self.train, *self.test))

    @property
    def captions(self) -> dict[str, int]:
        """The number of captions in each split. None has any in a task of classes."""
        if not self.has_captions:
            return {}
        train = sum(len(sample.captions) for sample in self.train)
        test = sum(len(sample.captions) for sample in self.test)
        return {"train": train, "test": test}

    @property
    def described(self) -> str:
        """What its images have: "20 classes", "400 captions"."""
        return f"{sum(self.captions.values()):,} captions" if self.has_captions else f"{len(self.classes)} classes"


def class_dataset(listing: Listing, config: UserTaskConfig, *, folder: Path, task: str, seed: int) -> Dataset:
    """Returns the data set with its splits and the names of its classes.

    Classes are sorted by the names of their folders, other labels by value if all are numbers, as text otherwise.
    UserError as split_listing and name_classes, for a class with a single image that had to be split, for fewer than
    two classes, for a class that only the test split has, and for a label that cannot be one.
    """
    location = listing.location
    splits, by_seed = split_listing(listing, config.test_fraction, seed=seed, group=lambda sample: sample.label)
    train = dict.fromkeys(sample.label for sample in splits["train"])
    test = dict.fromkeys(sample.label for sample in splits["test"])
    require_sound_labels([*train, *test], location)
    labels = sorted(train) if listing.folders else sort_labels(train)
    untested = [label for label in labels if label not in test]
    unknown = sort_labels(test.keys() - train.keys())
    if by_seed and untested:
        single = next(label for label in train if label not in test)
        problem = f"class {single!r} has only one image, which cannot be split into training and test"
        raise UserError(f"{location}: {problem}. Add images, or remove the class.")
    if unknown:
        problem = f"class {unknown[0]!r} is in the test split but not in the training split"
        raise UserError(f"{location}: {problem}. Add training images of it, or remove its test images.")
    if len(train) < 2:
        raise UserError(f"{location}: a task needs two classes, there is only {labels}. Add images of another class.")
    classes = name_classes(labels, config, folder=folder, task=task)
    notes = listing.notes
    if untested:
        have = "1 class has" if len(untested) == 1 else f"{len(untested)} classes have"
        notes += (f"{have} no test images: {first_names([classes[label] for label in untested])}.",)
    validation = [sample for sample in splits[VALIDATION] if sample.label in classes]
    return Dataset(classes, config.templates, splits["train"], splits["test"], validation, notes, by_seed=by_seed)


def split_listing(
    listing: Listing, test_fraction: float | None, *, seed: int, group: Callable[[Sample], str]
) -> tuple[dict[str, list[Sample]], bool]:
    """Returns the samples of train, test and validation in their order, and whether the test split is made by seed.

    That is so if no sample is of the test split. Then it is `test_fraction` of each group (rounded, at least one sample
    is left for training), sampled with a seed of its own, so the split of a group does not depend on the others.
    UserError if `test_fraction` is needed and not given.
    """
    rest = [sample for sample in listing.samples if sample.split != VALIDATION]
    test = {index for index, sample in enumerate(rest) if sample.split == "test"}
    by_seed = not test
    if by_seed:
        if test_fraction is None:
            problem = "the data set has no test split, and the row no test_fraction"
            raise UserError(
                f"{listing.location}: {problem}. Write test_fraction: 0.2 into the row, or add a test split."
            )
        for name, indices in _indices_by(group, rest).items():
            count = min(max(round(test_fraction * len(indices)), 1), len(indices) - 1)
            test.update(sampled_by_seed(indices, count, "split", seed, name))
    splits = {
        "train": [sample for index, sample in enumerate(rest) if index not in test],
        "test": [rest[index] for index in sorted(test)],
        VALIDATION: [sample for sample in listing.samples if sample.split == VALIDATION],
    }
    return splits, by_seed


def _indices_by(group: Callable[[Sample], str], samples: Iterable[Sample]) -> dict[str, list[int]]:
    indices_of: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        indices_of.setdefault(group(sample), []).append(index)
    return indices_of


def sampled_by_seed(indices: Sequence[int], count: int, *seeds: str | int) -> list[int]:
    """Returns `count` of the indices without repetition, in the order in which they are drawn."""
    order = np.random.default_rng(seed_for(*seeds)).permutation(len(indices))
    return [indices[position] for position in order[:count]]


def validation_note(name: str, splits: Iterable[str]) -> tuple[str, ...]:
    """Returns a note on the images whose split is validation, which is left out. `name` is its folder or value."""
    count = sum(split == VALIDATION for split in splits)
    return (f"{plural(count, 'image')} left out: {name} {VALIDATION_NOTE}",) if count else ()


def vocabulary_captions(samples: Iterable[Sample], count: int, *, task: str, seed: int) -> Captions:
    """Returns `count` different captions of the samples (all, if there are fewer), sampled by seed, in their order.

    Of captions that a text encoder cannot tell apart (comparison_key), the one that is sampled first.
    """
    distinct = list(dict.fromkeys(caption for sample in samples for caption in sample.captions))
    chosen: dict[str, int] = {}
    for index in sampled_by_seed(range(len(distinct)), len(distinct), "vocabulary captions", seed, task):
        if len(chosen) == count:
            break
        chosen.setdefault(comparison_key(distinct[index]), index)
    return tuple(distinct[index] for index in sorted(chosen.values()))


def require_caption_key(key: str, count: int | None, *, has_captions: bool) -> None:
    """Raises UserError if the task `key` has captions and no vocabulary_captions, or the other way round."""
    if (count is not None) != has_captions:
        problem = "missing, and the data set has captions. Write 200" if has_captions else "it has classes. Remove this"
        raise UserError(f"{key}.vocabulary_captions: {problem}.")


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Returns the distinct labels: by value if all are numbers (2 before 10), as text otherwise."""
    distinct = set(labels)
    are_numbers = all(label.isascii() and label.isdigit() for label in distinct)
    return sorted(distinct, key=lambda label: (int(label) if are_numbers else 0, label))


def sample_shots(dataset: Dataset, shots: int, *, task: str, seed: int) -> Dataset:
    """Returns the data set with `shots` training samples of each class, in their order. The test split stays complete.

    Each class is sampled without replacement, with a seed of its own. UserError for a class with fewer samples.
    """
    indices_of = _indices_by(lambda sample: sample.label, dataset.train)
    chosen: set[int] = set()
    for label, class_name in dataset.classes.items():
        indices = indices_of.get(label, [])
        if len(indices) < shots:
            problem = f"{shots} shots are more than class {class_name!r} has ({plural(len(indices), 'training image')})"
            raise UserError(
                f"params.yaml: tasks.{task}.shots: {problem}. Write {len(indices)} or fewer, or add images."
            )
        chosen.update(sampled_by_seed(indices, shots, "shots", seed, task, class_name))
    return dataclasses.replace(dataset, train=[dataset.train[index] for index in sorted(chosen)])


def few_images(dataset: Dataset, most: Mapping[str, int], *, task: str, seed: int) -> Dataset:
    """Returns the data set with at most `most` images of each split, sampled by seed, and with all its classes.

    Each class keeps one image at least, so there may be more.
    """

    def few(split: str, samples: Sequence[Sample]) -> list[Sample]:
        order = sampled_by_seed(range(len(samples)), len(samples), "few images", seed, task, split)
        of_class = {} if dataset.has_captions else {samples[index].label: index for index in reversed(order)}
        chosen = list(dict.fromkeys([*of_class.values(), *order]))[: max(most[split], len(of_class))]
        return [samples[index] for index in sorted(chosen)]

    return dataclasses.replace(dataset, train=few("train", dataset.train), test=few("test", dataset.test))


def name_classes(labels: Sequence[str], config: UserTaskConfig, *, folder: Path, task: str) -> dict[str, str]:
    """Returns {label: class name} in the order of `labels`. Without class_names in the row: default_class_name.

    UserError if the class_names of the row do not fit these labels, for an empty name, and for names that a text
    encoder cannot tell apart.
    """
    names, key = config.class_names, f"params.yaml: tasks.{task}.class_names"
    if names is None:
        named = {label: default_class_name(label) for label in labels}
        key = f"params.yaml: tasks.{task}.path: {config.path}"
    elif isinstance(names, str):
        named = _names_from_file(labels, folder / names, key)
    else:
        named = {plain_name(label): plain_name(name) for label, name in names.items()}
        for label in named:
            lookup(dict.fromkeys(labels), label, key)
        unnamed = [label for label in labels if label not in named]
        if unnamed:
            problem = f"{plural(len(unnamed), 'label')} without a name: {first_names(unnamed)}"
            raise UserError(f'{key}: {problem}. Add a line: "{unnamed[0]}": <its name>')
    require_sound_labels(named.values(), key)
    labels_of: dict[str, list[str]] = {}
    for label in labels:
        labels_of.setdefault(comparison_key(_INNER_HYPHEN.sub(" ", named[label])), []).append(label)
    for name, same in labels_of.items():
        if len(same) > 1 or not name:
            problem = f"class {same[0]!r} has no name"
            if name:
                names_of_same = [named[label] for label in same]
                problem = f"CLIP cannot tell apart the class names {names_of_same} of {', '.join(same)}"
            raise UserError(f"{key}: {problem}. Rename, or set class_names.")
    return {label: named[label] for label in labels}


def _names_from_file(labels: Sequence[str], path: Path, key: str) -> dict[str, str]:
    """Each line names the label at its position. A file that lists just the labels, in any order, renames none."""
    names = [plain_name(line) for line in text_lines(path, key)]
    ordered = sort_labels(labels)
    if sorted(names) == sorted(labels):
        return {label: label for label in labels}
    if len(names) != len(ordered):
        problem = f"{len(names)} names for {len(ordered)} labels ({first_names(ordered)})"
        raise UserError(f"{key}: {path.name}: {problem}. Write one name per line, in the order of the labels.")
    named = dict(zip(ordered, names, strict=True))
    for label, name in named.items():
        if name != label and name in named:
            problem = f"{name!r} is itself a label of the data, but its line names the label {label!r}"
            raise UserError(f"{key}: {path.name}: {problem}. Sort the lines like the labels, or write a mapping.")
    return named
