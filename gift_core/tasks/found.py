"""Images as a data set's files name them, under the data's own labels, and the listing that is made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gift_core.errors import UserError
from gift_core.seeds import seed_for
from gift_core.tasks.listing import Item, Listing

SPLITS = ("train", "test")
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Found:
    """One image before its class is known by number: the data's own label, and what an Item has beside it."""

    label: str
    name: str
    read: Callable[[], bytes]
    size: int


Splits = Mapping[str, Sequence[Found]]


def split_by_seed(found: Sequence[Found], *, test_fraction: float, seed: int, place: str) -> Splits:
    """Takes `test_fraction` of each label (rounded, one at least) for the test, by the label's own seed.

    Both splits keep the order of `found`. UserError for a label with a single image.
    """
    places: dict[str, list[int]] = {}
    for index, image in enumerate(found):
        places.setdefault(image.label, []).append(index)
    test: set[int] = set()
    for label, indices in places.items():
        if len(indices) < 2:
            raise UserError(f"{place}: class {label!r} has one image, too few to split. Add some, or remove the class.")
        order = np.random.default_rng(seed_for("split", seed, label)).permutation(len(indices))
        count = min(max(round(test_fraction * len(indices)), 1), len(indices) - 1)
        test.update(indices[position] for position in order[:count])
    return {
        "train": [image for index, image in enumerate(found) if index not in test],
        "test": [image for index, image in enumerate(found) if index in test],
    }


def labels_to_learn(splits: Splits, place: str) -> list[str]:
    """Returns the training labels: by number where all are numbers, else as texts.

    UserError for fewer than two labels, for an empty test split, and for one that test has and train has not.
    """
    train, test = ({image.label for image in splits[split]} for split in SPLITS)
    unknown = in_order(test - train)
    if unknown:
        what = f"class {unknown[0]!r} is in the test split but not in the training split"
        raise UserError(f"{place}: {what}, so it could not be learned. Add images to learn it from, or take it out.")
    if len(train) < 2:
        only = f"one class ({next(iter(train))})" if train else "no class"
        raise UserError(f"{place}: there is {only}, two at least are needed. Add images of another class.")
    if not test:
        raise UserError(f"{place}: there are no images in the test split. Add some, or have the data split by seed.")
    return in_order(train)


def in_order(labels: Iterable[str]) -> list[str]:
    """Returns the labels, each once: by number where all are numbers (2 before 10), else as texts."""
    distinct = set(labels)
    if all(_NUMBER.fullmatch(label) for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct)


def list_found(splits: Splits, names: Mapping[str, str], templates: tuple[str, ...]) -> Listing:
    """Returns the listing; `names` gives each label its class name, in the order of the classes."""
    number_of = {label: number for number, label in enumerate(names)}
    train, test = (
        tuple(Item(number_of[image.label], image.name, image.read, image.size) for image in splits[split])
        for split in SPLITS
    )
    return Listing(tuple(names.values()), templates, train, test)
