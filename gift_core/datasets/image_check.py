"""Checks the images of a data set before it becomes a task: which are broken, tiny, or there twice.

N: images. D: numbers of a thumbnail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from gift_core.datasets.dataset import Dataset, Sample
from gift_core.datasets.decoding import BadImageError, decoded_image, digest_of, in_order, read_image
from gift_core.progress import progress
from gift_core.quantities import first_names, plural

FEW_TEST_IMAGES = 100
UNBALANCED = 10  # times as many images in one class as in another
TINY = 32  # pixels: a CLIP with images of 224 pixels enlarges it sevenfold
SIDE = 8  # pixels of a thumbnail
ALIKE = 6.0  # how far two thumbnails of one picture may be apart: root mean square of colors from 0 to 255
_BLOCK = 2048  # thumbnails that are compared with as many others at once
_Pairs = list[tuple[str, str]]
_WHAT = {
    "in_both_splits": "of the test split, also in the training split, or alike",
    "in_two_classes": "in two classes or with other captions, or alike",
    "same_bytes": "with the bytes of another",
    "same_looks": "that look like another",
    "tiny": f"with a side below {TINY} pixels",
}


def composition_notes(dataset: Dataset, images_per_task: int | None) -> Iterator[str]:
    """Yields what the numbers of images mean for the result, where they are few or unequal.

    `images_per_task`: how many images are generated for each task (prompts.images_per_task); None for a probe, which no
    step learns.
    """
    if len(dataset.test) < FEW_TEST_IMAGES:
        points = round(98 / len(dataset.test) ** 0.5)  # of the normal approximation at an accuracy of 50%
        what = f"{plural(len(dataset.test), 'test image')}: an accuracy on them is uncertain by up to {points} points"
        yield f"{what}. Add images{', or raise test_fraction' if dataset.by_seed and images_per_task else ''}."
    if dataset.has_captions or images_per_task is None:
        return
    counts = Counter(sample.label for sample in dataset.train).most_common()
    (largest, most), (smallest, fewest) = counts[0], counts[-1]
    if most >= UNBALANCED * fewest:
        what = f"{dataset.classes[largest]} has {plural(most, 'training image')}, {dataset.classes[smallest]} {fewest}"
        yield f"{what}: the model will prefer the larger class. To take as many of each: shots: {fewest}."
    if (count := len(dataset.classes)) > images_per_task:
        what = f"{count} classes, but prompts.images_per_task is {images_per_task}. Raise it"
        yield f"{what}: later tasks replay fewer than one generated image of a class."


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
    sound, broken = examine_images(samples, name)
    others: dict[str, _Pairs] = {kind: [] for kind in _WHAT}
    thumbnails_ND = np.array([each.thumbnail_D for each in sound], np.float32).reshape(len(sound), SIDE * SIDE * 3)
    is_test = set(map(id, dataset.test))
    for position, first in enumerate(first_alike(thumbnails_ND)):
        if first < position:
            image, other = sound[position], sound[first]
            if (id(image.sample) in is_test) != (id(other.sample) in is_test):
                kind = "in_both_splits"
            elif image.sample.label != other.sample.label:
                kind = "in_two_classes"
            else:
                kind = "same_bytes" if image.digest == other.digest else "same_looks"
            others[kind].append((image.sample.name, other.sample.name))
    others["tiny"] = [(each.sample.name, "{} x {}".format(*each.size)) for each in sound if min(each.size) < TINY]
    return ImageFindings(len(samples), broken, others)


def examine_images(samples: Sequence[Sample], name: str) -> tuple[list[Examined], list[tuple[str, str]]]:
    """Returns the images that can be decoded, and (name, reason) of each other one, in their order."""
    found = list(progress(in_order(_examine, samples), len(samples), f"decode {name}"))
    broken = [each for each in found if not isinstance(each, Examined)]
    return [each for each in found if isinstance(each, Examined)], broken


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
    limit = numbers * ALIKE**2 / 2
    for row in range(0, count, _BLOCK):
        rows = slice(row, row + _BLOCK)
        end = int(np.searchsorted(mean_N, mean_N[rows][-1] + ALIKE))
        for column in range(row, end, _BLOCK):
            columns = slice(column, column + _BLOCK)
            # |a - b|^2 / 2 = |a|^2 / 2 + |b|^2 / 2 - ab
            scores = sorted_ND[rows] @ sorted_ND[columns].T - half_N[columns]
            alike = scores > (half_N[rows] - limit)[:, None]
            if alike.any():
                pairs = order[np.argwhere(alike) + np.array([row, column])]
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
