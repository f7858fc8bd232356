"""How a model is tested on the images of a task: they are classified, or images and captions are retrieved.

Retrieval: for each test image its captions among those of all test images, and for each caption its image.

B images of a batch, S side of the model's images, K classes,
N images, C captions, Q queries (the images, then the captions), A answers, K first answers, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from gift_core.artifacts.predictions import OF_CAPTION, OF_IMAGE, prediction_rows, retrieval_rows
from gift_core.artifacts.task import CLASSES, PAIRS, Captions, StoredImage, TaskInfo, index_task, read_task
from gift_core.clip.encoding import class_features, image_features, predict, require_unit, text_features
from gift_core.clip.images import CacheBudget, PixelCache, evaluation_preparation
from gift_core.clip.model import Clip
from gift_core.computation import to_device
from gift_core.progress import progress_bar
from gift_core.seeds import seed_for
from gift_core.work.overlap import prefetched


@dataclass(frozen=True)
class ImageLimit:
    """At most `max_images` test images of each task, chosen by `seed`, the experiment's, and the task's name."""

    max_images: int
    seed: int


class TestSet:
    """The test images of the task in `folder`, in batches of `batch_size`, as often as they are asked for.

    With a limit, those that choose_images chooses, in the order that they have in the task.
    Decoded images stay in memory between two passes as far as `cache_budget` permits. The others are decoded again.
    2 GiB hold 14,266 images of 224 px: of the data sets of MTIL only Food101 and SUN397 are decoded more than once.
    Models that read the same object must share their preprocessing.
    """

    def __init__(
        self, folder: Path, *, batch_size: int, cache_budget: CacheBudget, limit: ImageLimit | None = None
    ) -> None:
        self.task = read_task(folder)
        self.batch_size = batch_size
        self._folder = folder
        self._budget = cache_budget
        self._limit = limit
        self._store: PixelCache | None = None

    def __len__(self) -> int:
        """The number of images."""
        count = self.task.counts["test"]
        return count if self._limit is None else min(count, self._limit.max_images)

    @cached_property
    def labels_N(self) -> torch.Tensor:
        """int64 [N]."""
        return torch.tensor([image.label for image in self._images])

    @cached_property
    def captions(self) -> Sequence[Captions]:
        """The captions of each image, in a task of pairs."""
        return [image.captions for image in self._images]

    @cached_property
    def caption_positions_C(self) -> torch.Tensor:
        """The position of each of these captions among those of all test images, from 0, int64 [C]."""
        counts = [len(image.captions) for image in self._stored]
        of_images = torch.split(torch.arange(sum(counts)), counts)
        return torch.cat([of_images[at] for at in self.positions_N.tolist()])

    @cached_property
    def positions_N(self) -> torch.Tensor:
        """The position of each image among all test images of the task, from 0, ascending, int64 [N]."""
        if self._limit is None:
            return torch.arange(len(self._stored))
        seed = seed_for("test images", self._limit.seed, self.task.name)
        classes = [0 if image.captions else image.label for image in self._stored]
        return torch.tensor(choose_images(classes, self._limit.max_images, seed=seed))

    def batches(self, clip: Clip) -> Iterator[torch.Tensor]:
        """Yields the images in their order under the evaluation transform, uint8 [B, 3, S, S] on the model's device."""
        reads = [image.read for image in self._images]
        store = self._store = self._store or PixelCache(reads, evaluation_preparation(clip), self._budget)

        numbers = range(len(self))
        parts = (numbers[start : start + self.batch_size] for start in numbers[:: self.batch_size])
        pixels = (to_device(torch.stack(store.fetch(part)), clip.device) for part in parts)
        with closing(prefetched(pixels, device=clip.device)) as batches:
            yield from batches

    def class_features(self, clip: Clip) -> torch.Tensor:
        """Returns unit features [K, D] of the task's classes, each the mean over all the task's templates."""
        return class_features(clip, self.task.class_names, self.task.templates, batch_size=self.batch_size)

    @cached_property
    def _images(self) -> Sequence[StoredImage]:
        return [self._stored[position] for position in self.positions_N.tolist()]

    @cached_property
    def _stored(self) -> Sequence[StoredImage]:
        return index_task(self._folder, "test")


def choose_images(labels: Sequence[int], most: int, *, seed: int) -> list[int]:
    """Returns the ascending positions of `most` images, or of all if there are fewer, sampled within each class.

    The number of a class is its share of `most`, rounded by the largest remainders. Each class has one image at least
    if `most` is not less than the number of classes. Otherwise some classes have none.
    """
    if len(labels) <= most:
        return list(range(len(labels)))
    of_class: dict[int, list[int]] = {}  # in a sampled order, so that equal remainders favor no class by its number
    for position in np.random.default_rng(seed).permutation(len(labels)).tolist():
        of_class.setdefault(labels[position], []).append(position)
    counts = {label: len(positions) for label, positions in of_class.items()}
    numbers = dict[int, int]()
    if most >= len(counts):  # first one for each class whose share is less than one
        while small := [label for label, n in counts.items() if n * most < sum(counts.values())]:
            numbers |= dict.fromkeys(small, 1)
            counts = {label: n for label, n in counts.items() if label not in small}
            most -= len(small)
    total = sum(counts.values())
    shares = {label: divmod(n * most, total) for label, n in counts.items()}
    rest = most - sum(number for number, _ in shares.values())
    by_remainder = sorted(shares, key=lambda label: -shares[label][1])
    numbers |= {label: shares[label][0] + (label in by_remainder[:rest]) for label in shares}
    return sorted(position for label, number in numbers.items() for position in of_class[label][:number])


def encode_test_set(clip: Clip, test_set: TestSet) -> torch.Tensor:
    """Returns unit features [N, D] of the test images, on the model's device. UserError as require_unit."""
    features = []
    with progress_bar(len(test_set), f"{test_set.task.name} images") as bar:
        for pixels_BCHW in test_set.batches(clip):
            features.append(image_features(clip, pixels_BCHW, batch_size=len(pixels_BCHW)))
            bar.update(len(pixels_BCHW))
    return require_unit(torch.cat(features), "images")


SHOWN = 5  # first answers that are kept of each query
QUERIES = 1024  # that are compared with all answers at once


@dataclass(frozen=True)
class Retrieval:
    """What a model retrieves, all int64 on the CPU.

    `ranks_Q`: the rank, from 1, of the first right answer. `found_QK`: the first answers, captions for an image and
    images for a caption. `images_N` and `captions_C` are the positions of the queries among all of the test set, and
    `owners_C` the positions of the images that the captions are of.
    """

    ranks_Q: torch.Tensor
    found_QK: torch.Tensor
    images_N: torch.Tensor
    captions_C: torch.Tensor
    owners_C: torch.Tensor

    @property
    def top1(self) -> float:
        """Recall@1 (0-1), the mean of both directions."""
        return sum(map(recall_at_1, self._halves(self.ranks_Q))) / 2

    @property
    def count(self) -> int:
        """The number of test images."""
        return len(self.images_N)

    def rows(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        """Returns the rows of artifacts.predictions."""
        owner = dict(zip(self.captions_C.tolist(), self.owners_C.tolist(), strict=True))
        ranks_N, ranks_C = self._halves(self.ranks_Q)
        found_NK, found_CK = self._halves(self.found_QK)
        named = [owner[first] for first in found_NK[:, 0].tolist()]
        images, captions = self.images_N, self.captions_C
        of_images = retrieval_rows(
            columns, OF_IMAGE, images, right=images, found=named, ranks=ranks_N, answers=found_NK
        )
        of_captions = retrieval_rows(
            columns, OF_CAPTION, captions, right=self.owners_C, found=found_CK[:, 0], ranks=ranks_C, answers=found_CK
        )
        return pd.concat([of_images, of_captions], ignore_index=True)

    def _halves(self, rows_QX: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The rows of the images, and those of the captions."""
        return torch.split(rows_QX, [len(self.images_N), len(self.captions_C)])


def retrieve(clip: Clip, test_set: TestSet) -> dict[str, torch.Tensor]:
    """Returns the fields of Retrieval: how the model ranks the test images and their captions.

    An image has several right captions, and the best ranked one counts, as in the benchmarks of CLIP and open_clip.
    Equal similarities are ranked by position.
    """
    image_ND = encode_test_set(clip, test_set)
    texts = [caption for captions in test_set.captions for caption in captions]
    text_CD = text_features(clip, texts, batch_size=test_set.batch_size).to(image_ND.device)
    counts = [len(captions) for captions in test_set.captions]
    (ranks_N, found_NK), (ranks_C, found_CK) = ranked_both_ways(image_ND, text_CD, counts)
    owners_C = torch.repeat_interleave(torch.tensor(counts))
    images_N, captions_C = test_set.positions_N, test_set.caption_positions_C
    answers = captions_C[found_NK], images_N[found_CK]
    padded = [functional.pad(rows, (0, SHOWN - rows.shape[1]), value=-1) for rows in answers]  # where there are fewer
    return {
        "ranks_Q": torch.cat([ranks_N, ranks_C]),
        "found_QK": torch.cat(padded),
        "images_N": images_N,
        "captions_C": captions_C,
        "owners_C": images_N[owners_C],
    }


def ranked_both_ways(
    image_ND: torch.Tensor, text_CD: torch.Tensor, counts: Sequence[int]
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Returns first_right of the images among the captions, and of the captions among the images.

    `counts` are the numbers of captions of the images, whose captions follow each other.
    """
    own_C = torch.repeat_interleave(torch.tensor(counts))
    captions_of = torch.split(torch.arange(len(own_C)), list(counts))
    return first_right(image_ND, text_CD, captions_of), first_right(text_CD, image_ND, own_C[:, None].unbind())


def recall_at_1(ranks_Q: torch.Tensor) -> float:
    """Returns the fraction (0-1) of queries whose first answer is right."""
    return float((ranks_Q == 1).double().mean())


def first_right(
    query_QD: torch.Tensor, answer_AD: torch.Tensor, right: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the rank (from 1) of each query's first right answer, int64 [Q], and its SHOWN first answers.

    `right` has the numbers of the right answers of each query. Features are unit vectors.
    """
    ranks, answers = [], []
    for start in range(0, len(query_QD), QUERIES):
        order_QA = (query_QD[start : start + QUERIES] @ answer_AD.T).sort(dim=1, descending=True, stable=True).indices
        order_QA = order_QA.cpu()
        answers.append(order_QA[:, :SHOWN])
        for order_A, right_answers in zip(order_QA, right[start : start + QUERIES], strict=True):
            ranks.append(int(torch.isin(order_A, right_answers).int().argmax()) + 1)
    return torch.tensor(ranks), torch.cat(answers)


@dataclass(frozen=True)
class Classification:
    """What a model says of test images, int64 [N] on the CPU: predicted and label are indices into `classes`.

    `positions_N`: of the images in their task's test set.
    """

    predicted_N: torch.Tensor
    labels_N: torch.Tensor
    positions_N: torch.Tensor
    classes: Sequence[str]

    @property
    def top1(self) -> float:
        """The accuracy (0-1)."""
        return float((self.predicted_N == self.labels_N).double().mean())

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.labels_N)

    def rows(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        """Returns the rows of artifacts.predictions. `columns` are method, protocol, step, trained_task and task."""
        return prediction_rows(
            columns,
            images=self.positions_N.numpy(),
            labels=self.labels_N.numpy(),
            predicted=self.predicted_N.numpy(),
            classes=self.classes,
        )


TestOutcome = Classification | Retrieval  # what a model makes of the test images of a task


def classify(clip: Clip, test_set: TestSet) -> dict[str, torch.Tensor]:
    """Returns the tensors of Classification: the class of the task that is nearest to each test image."""
    class_KD = test_set.class_features(clip)
    predicted_N = predict(encode_test_set(clip, test_set), class_KD).cpu()
    return {"predicted_N": predicted_N, "labels_N": test_set.labels_N, "positions_N": test_set.positions_N}


# By the kind of task: the tensors of a test.
TESTERS: Mapping[str, Callable[[Clip, TestSet], dict[str, torch.Tensor]]] = {CLASSES: classify, PAIRS: retrieve}


def outcome_of(task: TaskInfo, tensors: Mapping[str, torch.Tensor]) -> TestOutcome:
    """Returns the test of a model on a task, which has these tensors."""
    return Retrieval(**tensors) if task.kind == PAIRS else Classification(**tensors, classes=task.class_names)


def test_of(clip: Clip, test_set: TestSet) -> TestOutcome:
    """Returns the test of a model on test images."""
    return outcome_of(test_set.task, TESTERS[test_set.task.kind](clip, test_set))
