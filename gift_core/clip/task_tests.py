"""How a model is tested on the tasks of each kind: its test images are classified, or images and captions retrieved.

Retrieval: for each test image its captions among those of all test images, and for each caption its image.

N images, C captions, Q queries (the images, then the captions), A answers, K first answers, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch.nn import functional

from gift_core.artifacts.predictions import OF_CAPTION, OF_IMAGE, prediction_rows, retrieval_rows
from gift_core.artifacts.task import CLASSES, PAIRS, TaskInfo
from gift_core.clip.encoding import predict, text_features
from gift_core.clip.model import Clip
from gift_core.clip.test_set import TestSet, encode_test_set

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
        of_images_N, of_captions_C = self._halves(self.ranks_Q)
        return float(((of_images_N == 1).double().mean() + (of_captions_C == 1).double().mean()) / 2)

    @property
    def count(self) -> int:
        """The number of test images."""
        return len(self.images_N)

    def rows(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        """Returns the rows of artifacts.predictions."""
        owner = dict(zip(self.captions_C.tolist(), self.owners_C.tolist(), strict=True))
        (ranks_N, ranks_C), (found_NK, found_CK) = self._halves(self.ranks_Q), self._halves(self.found_QK)
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
    own_C = torch.tensor([image for image, captions in enumerate(test_set.captions) for _ in captions])
    captions_of = torch.split(torch.arange(len(own_C)), [len(captions) for captions in test_set.captions])
    ranks_N, found_NK = first_right(image_ND, text_CD, captions_of)
    ranks_C, found_CK = first_right(text_CD, image_ND, own_C[:, None].unbind())
    images_N, captions_C = test_set.positions_N, test_set.caption_positions_C
    answers = captions_C[found_NK], images_N[found_CK]
    padded = [functional.pad(each, (0, SHOWN - each.shape[1]), value=-1) for each in answers]  # where there are fewer
    return {
        "ranks_Q": torch.cat([ranks_N, ranks_C]),
        "found_QK": torch.cat(padded),
        "images_N": images_N,
        "captions_C": captions_C,
        "owners_C": images_N[own_C],
    }


def first_right(
    query_QD: torch.Tensor, answer_AD: torch.Tensor, right: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the rank (from 1) of each query's first right answer, int64 [Q], and its SHOWN first answers.

    `right` has the numbers of the right answers of each query. Features are unit vectors.
    """
    ranks, found = [], []
    for start in range(0, len(query_QD), QUERIES):
        order_QA = (query_QD[start : start + QUERIES] @ answer_AD.T).sort(dim=1, descending=True, stable=True).indices
        order_QA = order_QA.cpu()
        found.append(order_QA[:, :SHOWN])
        ranks += [
            int(torch.isin(order_A, own).int().argmax()) + 1
            for order_A, own in zip(order_QA, right[start : start + QUERIES], strict=True)
        ]
    return torch.tensor(ranks), torch.cat(found)


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
        labels, predicted, images = (each.numpy() for each in (self.labels_N, self.predicted_N, self.positions_N))
        return prediction_rows(columns, images=images, labels=labels, predicted=predicted, classes=self.classes)


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
