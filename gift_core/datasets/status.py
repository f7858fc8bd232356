"""The raw data of an experiment, one's own and published: what is there, and which images are broken, tiny or copies.

N: images. D: numbers of a thumbnail.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gift_core.config.experiment import Config
from gift_core.config.tasks import CatalogueTaskConfig, UserDataConfig
from gift_core.datasets.catalogue.inventory import (
    CatalogueRow,
    Inventory,
    catalogue_names,
    catalogue_row,
    take_inventory,
)
from gift_core.datasets.dataset import Dataset, Sample
from gift_core.datasets.decoding import BadImageError, decoded_image, digest_of, read_image
from gift_core.datasets.ingest import open_dataset
from gift_core.errors import UserError, lookup
from gift_core.layout import Layout
from gift_core.progress import progress
from gift_core.quantities import first_names, plural
from gift_core.work.overlap import in_order

FEW_TESTED = 100  # test images, below which an accuracy is known to 10 points at best
MORE_TESTED = 0.4  # of the images, where a smaller test_fraction leaves few test images
TINY = 32  # pixels: a CLIP with images of 224 pixels enlarges it sevenfold
SIDE = 8  # pixels of a thumbnail
ALIKE = 6.0  # how far two thumbnails of one picture may be apart: root mean square of colors from 0 to 255
_BLOCK = 256  # thumbnails that are compared at once with all that may look like them
_Pairs = list[tuple[str, str]]
_WHAT = {
    "in_both_splits": "of the test split, also in the training split, or alike",
    "in_two_classes": "in two classes or with other captions, or alike",
    "same_bytes": "with the bytes of another",
    "same_looks": "that look like another",
    "tiny": f"with a side below {TINY} pixels",
}


@dataclass(frozen=True)
class RawData:
    """A folder of raw data, which `tasks` read. `row`: of a published data set; None for the images of one task.

    `allow_partial`: a part of it with images of each split is enough for all of them.
    """

    name: str
    path: Path
    tasks: tuple[str, ...] = ()
    row: CatalogueRow | None = None
    allow_partial: bool = False

    def is_enough(self, found: Inventory) -> bool:
        """Returns whether `ingest` would take what is there."""
        if found.state == "complete":
            return True
        if self.row is None or not self.allow_partial:
            return False
        return all(found.dataset.counts[split] for split in self.row.counts)


def data_in_use(config: Config, names: Iterable[str] | None = None, *, root: Path) -> list[RawData]:
    """Returns the data that tasks read, one for each folder, the user's own first. The miniature benchmark needs none.

    With `names`, the tasks and data sets with these names: where tasks read them, otherwise in data/0_raw/<name>.
    UserError for an unknown data set, with the nearest name.
    """
    in_use = list[RawData]()
    readers = dict[tuple[str, str], dict[str, CatalogueTaskConfig]]()
    for name, task in config.tasks.items():
        if isinstance(task, UserDataConfig):
            in_use.append(RawData(name, root / task.path, (name,)))
        elif isinstance(task, CatalogueTaskConfig):
            readers.setdefault((task.dataset, task.path), {})[name] = task
    for (name, path), tasks in readers.items():
        row = catalogue_row(name, f"params.yaml: tasks.{next(iter(tasks))}.dataset")
        allow_partial = all(task.allow_partial for task in tasks.values())
        in_use.append(RawData(name, root / path, tuple(tasks), row, allow_partial))
    if not names:
        return in_use
    chosen = list[RawData]()
    for name in dict.fromkeys(names):
        lookup(dict.fromkeys([*catalogue_names(), *(raw.name for raw in in_use)]), name, "gift data")
        named = [raw for raw in in_use if raw.name == name]
        if not named:
            named = [RawData(name, Layout(root).raw(name), row=catalogue_row(name, "gift data"))]
        chosen += named
    return chosen


def open_raw(raw: RawData, config: Config, root: Path) -> Inventory:
    """Returns what is in a folder. It has no images if ingest would refuse it. Files are listed, none is decoded."""
    if raw.row is not None:
        return take_inventory(raw.row, raw.path)
    try:
        dataset = open_dataset(raw.name, config.tasks[raw.name], seed=config.seed, root=root)
    except UserError as error:
        return Inventory("wrong" if raw.path.exists() else "missing", (str(error),))
    return Inventory("complete", (), dataset)


def few_tested(dataset: Dataset) -> str:
    """Returns what an accuracy on few test images is worth, or nothing: half its 95% interval, widest at 50%."""
    images = len(dataset.test)
    if dataset.has_captions or not 0 < images < FEW_TESTED:
        return ""
    return f"Only {images} test images: chance moves their accuracy by up to {round(98 / math.sqrt(images))} points"


def can_test_more(dataset: Dataset, test_fraction: float | None) -> bool:
    """Returns whether a larger test_fraction of the row is a remedy: GIFT splits the images, most are for training."""
    return dataset.by_seed and test_fraction is not None and test_fraction < MORE_TESTED


@dataclass(frozen=True)
class ImageFindings:
    """What was found among `count` images, as (image, detail) in their order, training images first.

    `broken`: images that cannot be decoded, with the reason. `others` has the keys of _WHAT, or none if no image was
    decoded. The detail of a tiny image is its size. That of any other is the first image that looks like it, so of nine
    copies eight are listed, all with the first one.
    """

    count: int
    broken: _Pairs = field(default_factory=list)
    others: dict[str, _Pairs] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yields a line for each kind of `others` with the number of images and the first ones, or one for none."""
        if self.others and not any((self.broken, *self.others.values())):
            yield f"{plural(self.count, 'image')} decoded: none is broken, tiny, in both splits, or there twice."
        for kind, pairs in self.others.items():
            if pairs:
                yield f"{plural(len(pairs), 'image')} {_WHAT[kind]}: {_named(pairs)}."

    def broken_line(self) -> str:
        """Returns "2 images cannot be decoded: train/hat/3.jpg (not an image), ...", without a stop."""
        return f"{plural(len(self.broken), 'image')} cannot be decoded: {_named(self.broken)}"


def check_images(dataset: Dataset, name: str) -> ImageFindings:
    """Decodes every image as `ingest` does, and compares all with all. Shows a progress bar."""
    samples = (*dataset.train, *dataset.test)
    examined = list(progress(in_order(_examine, samples), len(samples), f"decode {name}"))
    sound = [image for image in examined if isinstance(image, Examined)]
    broken = [reason for reason in examined if not isinstance(reason, Examined)]
    others: dict[str, _Pairs] = {kind: [] for kind in _WHAT}
    thumbnails_ND = np.array([image.thumbnail_D for image in sound], np.float32).reshape(len(sound), SIDE * SIDE * 3)
    is_test = set(map(id, dataset.test))
    for position, first in enumerate(first_alike(thumbnails_ND)):
        if first < position:
            image, alike = sound[position], sound[first]
            if (id(image.sample) in is_test) != (id(alike.sample) in is_test):
                kind = "in_both_splits"
            elif image.sample.label != alike.sample.label:
                kind = "in_two_classes"
            else:
                kind = "same_bytes" if image.digest == alike.digest else "same_looks"
            others[kind].append((image.sample.name, alike.sample.name))
    others["tiny"] = [(image.sample.name, "{} x {}".format(*image.size)) for image in sound if min(image.size) < TINY]
    return ImageFindings(len(samples), broken, others)


def first_alike(thumbnails_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Returns for each image the position of the first image that looks the same, which may be its own.

    Two images look the same if the root mean square of the differences of their thumbnails is below ALIKE.
    """
    count, numbers = thumbnails_ND.shape
    first = np.arange(count)
    mean_N = thumbnails_ND.mean(axis=1)
    order = np.argsort(mean_N, kind="stable")  # the means of two such images differ by less than ALIKE
    sorted_ND, mean_N = thumbnails_ND[order], mean_N[order]
    half_N = (sorted_ND**2).sum(axis=1) / 2
    for row in range(0, count, _BLOCK):
        rows = slice(row, row + _BLOCK)
        near = slice(row, int(np.searchsorted(mean_N, mean_N[rows][-1] + ALIKE)))
        # |a - b|^2 / 2 = |a|^2 / 2 + |b|^2 / 2 - ab
        half_squares = half_N[rows, None] + half_N[near] - sorted_ND[rows] @ sorted_ND[near].T
        pairs = order[np.argwhere(half_squares < numbers * ALIKE**2 / 2) + row]
        np.minimum.at(first, pairs.max(axis=1), pairs.min(axis=1))
    return first


@dataclass(frozen=True)
class Examined:
    """A decoded image. `size` is its width and height, `thumbnail_D` SIDE x SIDE RGB pixels around 0."""

    sample: Sample
    digest: bytes
    size: tuple[int, int]
    thumbnail_D: npt.NDArray[np.float32]


def _examine(sample: Sample) -> Examined | tuple[str, str]:
    """Returns the decoded image, or its name and why it cannot be decoded."""
    try:
        data = read_image(sample)
        image = decoded_image(data)
    except BadImageError as error:
        return sample.name, str(error) if sample.size else "an empty file"
    small = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=4.0)
    return Examined(sample, digest_of(data), image.size, np.asarray(small, np.float32).ravel() - 128)


def _named(pairs: _Pairs) -> str:
    return first_names([f"{name} ({detail})" for name, detail in pairs])
