"""Retrieval: for each test image its captions among those of all test images, and for each caption its image.

N images, C captions, Q queries (the images, then the captions), A answers, K first answers, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch.nn import functional

from gift_core.artifacts.predictions import OF_CAPTION, OF_IMAGE, retrieval_rows
from gift_core.clip.encoding import text_features
from gift_core.clip.model import Clip
from gift_core.clip.test_sets import TestSet, encode_test_set

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
        return len(self.images_N)

    def rows(self, columns: Mapping[str, Any]) -> pd.DataFrame:
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
