"""Notes on images that occur in both splits or in two classes: the same bytes, under whatever names."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence

from gift_core.datasets.dataset import Dataset, Sample, first_names, image_count

_DIGEST_BYTES = 16


class DuplicateWatch:
    """Notes a hash of every image when it is read, so that no image is read twice."""

    def __init__(self) -> None:
        self._first: dict[bytes, tuple[str, str]] = {}  # the split and the label where an image was first read
        self._in_both: list[str] = []
        self._two_classes: list[str] = []

    def watch(self, dataset: Dataset) -> Dataset:
        """Returns the data set with samples that are noted when they are read."""
        return dataclasses.replace(
            dataset, train=self._watch(dataset.train, "train"), test=self._watch(dataset.test, "test")
        )

    def notes(self) -> Iterator[str]:
        """Yields what was found among the images that were read until now."""
        if self._in_both:
            verb = "is" if len(self._in_both) == 1 else "are"
            what = f"{image_count(len(self._in_both))} of the test split {verb} also in the training split"
            yield f"{what}: {first_names(self._in_both)}."
        if self._two_classes:
            verb = "has" if len(self._two_classes) == 1 else "have"
            yield f"{image_count(len(self._two_classes))} {verb} two classes: {first_names(self._two_classes)}."

    def _watch(self, samples: Sequence[Sample], split: str) -> tuple[Sample, ...]:
        return tuple(dataclasses.replace(sample, read=self._noted(sample, split)) for sample in samples)

    def _noted(self, sample: Sample, split: str) -> Callable[[], bytes]:
        def read() -> bytes:
            data = sample.read()
            digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
            first_split, first_label = self._first.setdefault(digest, (split, sample.label))
            if first_split != split:
                self._in_both.append(sample.name)
            if first_label != sample.label:
                self._two_classes.append(sample.name)
            return data

        return read
