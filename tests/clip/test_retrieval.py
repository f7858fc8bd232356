"""Retrieval of images and captions, by hand and by a second implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gift_core.clip.encoding import image_features, text_features
from gift_core.clip.images import CacheBudget, evaluation_pixels
from gift_core.clip.retrieval import first_right
from gift_core.clip.task_tests import test_of as measure_test_set
from gift_core.clip.test_sets import TestSet
from tests.clip.tiny import png, tiny_clip
from tests.made import made_task

TESTED = [("a cat.", "the cat"), ("a dog.",), ("a hen.", "the hen", "one hen"), ("an owl.",), ("a fox.", "fox")]


def test_the_best_of_several_right_answers_counts_and_ties_are_ranked_by_position() -> None:
    query_QD = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    answer_AD = torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    ranks_Q, found_QK = first_right(query_QD, answer_AD, [torch.tensor([2, 3]), torch.tensor([2])])
    assert ranks_Q.tolist() == [3, 2]  # 1, 0, 2 before 3; 0 before 2, which is equal
    assert found_QK.tolist() == [[1, 0, 2, 3], [0, 2, 1, 3]]


def recall_at(similarity: np.ndarray, right: np.ndarray, k: int) -> float:
    """Like CLIP_benchmark's: the share of the rows with a right column among the k largest."""
    top = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return float(np.take_along_axis(right, top, axis=1).any(axis=1).mean())


def test_recalls_are_those_of_an_independent_implementation(tmp_path: Path) -> None:
    clip, folder = tiny_clip(), made_task(tmp_path / "pets", TESTED, ("a cat.", "a dog."), ("{}",))
    test = measure_test_set(clip, TestSet(folder, batch_size=2, cache_budget=CacheBudget(0)))
    texts = [caption for captions in TESTED for caption in captions]
    owner = np.repeat(np.arange(5), [len(captions) for captions in TESTED])
    image_ND = image_features(clip, evaluation_pixels(clip, [png(seed) for seed in range(5)]), batch_size=2)
    similarity = (image_ND @ text_features(clip, texts, batch_size=2).T).numpy()
    right = np.arange(5)[:, None] == owner[None, :]
    both = [(similarity, right), (similarity.T, right.T)]
    assert test.top1 == pytest.approx(np.mean([recall_at(*each, 1) for each in both]))
    rows = test.rows({**dict.fromkeys(("method", "protocol", "trained_task", "task"), "pets"), "step": 0})
    for query, each in zip(("image", "caption"), both, strict=True):
        ranks = rows[rows["query"] == query]["rank"]
        for k in (1, 3, 5):
            assert (ranks <= k).mean() == pytest.approx(recall_at(*each, k))
        assert ((rows["rank"] == 1) == (rows["label"] == rows["predicted"])).all()
    assert test.count == 5 and len(rows) == 5 + 9
