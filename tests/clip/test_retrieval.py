"""Retrieval: ranks by hand and by an independent implementation, and the rows of a whole test set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gift_core.artifacts.task import TaskInfo, write_task
from gift_core.clip.encoding import image_features, text_features
from gift_core.clip.images import CacheBudget, evaluation_pixels
from gift_core.clip.retrieval import first_right
from gift_core.clip.task_tests import test_of as measure_test_set
from gift_core.clip.test_set import ImageLimit, TestSet, choose_images
from gift_core.seeds import seed_for
from tests.clip.tiny import png, tiny_clip

COLUMNS = {"method": "gift", "protocol": "task_incremental", "step": 0, "trained_task": "pets", "task": "pets"}
CAPTIONS = [("a cat.", "the cat"), ("a dog.",), ("a hen.", "the hen", "one hen"), ("an owl.",), ("a fox.", "fox")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five test images with nine captions."""
    images = [(png(seed), "png", captions) for seed, captions in enumerate(CAPTIONS)]
    info = TaskInfo("pets", ("a cat.", "a dog."), ("{}",), "pairs")
    write_task(tmp_path / "pets", info, images[:2], images, images_per_shard=2)
    return tmp_path / "pets"


def opened(folder: Path, limit: ImageLimit | None = None) -> TestSet:
    return TestSet(folder, batch_size=2, cache_budget=CacheBudget(0), limit=limit)


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


def test_recalls_are_those_of_an_independent_implementation(folder: Path) -> None:
    clip = tiny_clip()
    test = measure_test_set(clip, opened(folder))
    texts = [caption for captions in CAPTIONS for caption in captions]
    owner = np.repeat(np.arange(5), [len(captions) for captions in CAPTIONS])
    image_ND = image_features(clip, evaluation_pixels(clip, [png(seed) for seed in range(5)]), batch_size=2)
    similarity = (image_ND @ text_features(clip, texts, batch_size=2).T).numpy()
    right = np.arange(5)[:, None] == owner[None, :]
    both = [(similarity, right), (similarity.T, right.T)]
    assert test.top1 == pytest.approx(np.mean([recall_at(*each, 1) for each in both]))
    rows = test.rows(COLUMNS)
    for query, each in zip(("image", "caption"), both, strict=True):
        ranks = rows[rows["query"] == query]["rank"]
        for k in (1, 3, 5):
            assert (ranks <= k).mean() == pytest.approx(recall_at(*each, k))
        assert ((rows["rank"] == 1) == (rows["label"] == rows["predicted"])).all()
    assert test.count == 5 and len(rows) == 5 + 9


def test_a_limit_keeps_positions_of_the_whole_test_set(folder: Path) -> None:
    images = opened(folder, ImageLimit(3, seed=1))
    rows = measure_test_set(tiny_clip(), images).rows(COLUMNS)
    chosen = images.positions_N.tolist()
    assert chosen == choose_images([0] * 5, 3, seed=seed_for("test images", 1, "pets"))  # no strata
    captions = rows[rows["query"] == "caption"]
    starts = np.cumsum([0, *(len(each) for each in CAPTIONS)])
    expected = [at for image in chosen for at in range(starts[image], starts[image + 1])]
    assert captions["image"].tolist() == expected
    assert set(captions["label"]) == set(map(str, chosen))
    assert {image for found in captions["retrieved"] for image in found} == set(chosen)
