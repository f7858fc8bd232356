"""Images with captions: batches with one caption of each image; retrieval by hand and by a second implementation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from gift_core.artifacts.task import TaskInfo, index_task, write_task
from gift_core.clip.batches import JointImages, TrainingBatch, TrainingImages, TrainingPairs
from gift_core.clip.encoding import cut_texts, image_features, text_features, tokenize
from gift_core.clip.images import CacheBudget, evaluation_pixels
from gift_core.clip.task_tests import first_right
from gift_core.clip.task_tests import test_of as measure_test_set
from gift_core.clip.test_set import ImageLimit, TestSet
from tests.clip.tiny import CONTEXT, Picture, png, tiny_clip

CLIP = tiny_clip()
CAPTIONS = [("a cat.", "the cat", "one cat"), ("a dog.", "the dog"), ("a cat.",), ("a hen.",)]


def write_pets(folder: Path, all_captions: Sequence[tuple[str, ...]]) -> Path:
    """The training and the test images of a task have these captions."""
    images = [(png(seed), "png", captions) for seed, captions in enumerate(all_captions)]
    info = TaskInfo("pets", ("a cat.", "a dog."), ("{}",), "pairs")
    write_task(folder / "pets", info, images, images, images_per_shard=2)
    return folder / "pets"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pets(tmp_path, CAPTIONS)


def pairs(folder: Path, *, batch_size: int = 4) -> TrainingPairs:
    return TrainingPairs(
        CLIP, index_task(folder, "train"), class_prompts=("a cat.",), batch_size=batch_size, crop_scale=(0.9, 1.0),
        names=("test", 1), cache_budget=CacheBudget(),
    )  # fmt: skip


def tokens_of(batch: TrainingBatch) -> torch.Tensor:
    assert batch.tokens_BL is not None
    return batch.tokens_BL


def test_every_caption_of_an_image_is_sampled_and_a_batch_depends_on_nothing_but_its_number(folder: Path) -> None:
    batches, again = pairs(folder), pairs(folder)
    rows = {caption: tokenize(CLIP, [caption])[0].tolist() for captions in CAPTIONS for caption in captions}
    seen: set[str] = set()
    for iteration in range(12):
        batch = batches.sample(iteration)
        seen |= {caption for caption, row in rows.items() if row in tokens_of(batch).tolist()}
    assert seen == set(rows)
    for other in (again.sample(7), batches.sample(7)):
        assert torch.equal(other.images_BCHW, pairs(folder).sample(7).images_BCHW)
        assert torch.equal(tokens_of(other), tokens_of(pairs(folder).sample(7)))


def test_equal_captions_and_equal_images_share_the_target(folder: Path) -> None:
    """With more pairs than images, an image occurs more than once, also with different captions."""
    of_dog, different = tokenize(CLIP, CAPTIONS[1]), 0
    for iteration in range(8):
        batch = pairs(folder, batch_size=6).sample(iteration)
        same_BB = batch.targets["targets_BB"] > 0
        assert torch.equal(same_BB, same_BB.T) and bool(same_BB.diagonal().all())
        assert torch.allclose(batch.targets["targets_BB"].sum(dim=1), torch.ones(6))
        equal_texts_BB = (tokens_of(batch)[:, None] == tokens_of(batch)[None]).all(dim=2)
        assert bool(same_BB[equal_texts_BB].all())
        dogs = (tokens_of(batch)[:, None] == of_dog[None]).all(dim=2).any(dim=1).nonzero().flatten()
        assert bool(same_BB[dogs][:, dogs].all())
        different += not bool(equal_texts_BB[dogs][:, dogs].all())
    assert different


def test_a_process_decodes_its_share_and_has_all_texts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs(folder).sample(3)
    monkeypatch.setattr("gift_core.clip.batches.own_share", lambda rows: slice(1, 3))
    part = pairs(folder).sample(3)
    assert torch.equal(tokens_of(whole), tokens_of(part))
    assert torch.equal(whole.targets["targets_BB"], part.targets["targets_BB"])
    assert torch.equal(whole.images_BCHW[1:3], part.images_BCHW[1:3])
    assert not part.images_BCHW[[0, 3]].any()


def test_a_joint_round_has_pairs_and_classes(folder: Path) -> None:
    classes = TrainingImages(
        CLIP, [Picture(png(0), 0), Picture(png(1), 1)], class_prompts=("one", "two"), batch_size=2,
        crop_scale=(0.9, 1.0), names=("t",), cache_budget=CacheBudget(),
    )  # fmt: skip
    joint = JointImages([pairs(folder), classes], ("test",))
    assert sorted(joint.sample(iteration).kind for iteration in range(2)) == ["classes", "pairs"]
    tokens_KL = tokenize(CLIP, joint.class_prompts)
    of_classes = next(batch for batch in map(joint.sample, range(2)) if batch.kind == "classes")
    assert torch.equal(of_classes.texts(tokens_KL), tokens_KL[1:])


def test_texts_that_fill_the_context_are_counted(folder: Path) -> None:
    fits, fills = "cat " * (CONTEXT - 3), "cat " * (CONTEXT + 5)
    assert cut_texts(CLIP, ["a cat.", fits, fills]) == 1
    assert pairs(folder).summary == "4 images with 7 captions"


COLUMNS = {"method": "gift", "protocol": "task_incremental", "step": 0, "trained_task": "pets", "task": "pets"}
TESTED = [("a cat.", "the cat"), ("a dog.",), ("a hen.", "the hen", "one hen"), ("an owl.",), ("a fox.", "fox")]


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """Five test images with nine captions."""
    return write_pets(tmp_path, TESTED)


def opened(tested: Path, limit: ImageLimit | None = None) -> TestSet:
    return TestSet(tested, batch_size=2, cache_budget=CacheBudget(0), limit=limit)


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


def test_recalls_are_those_of_an_independent_implementation(tested: Path) -> None:
    clip = tiny_clip()
    test = measure_test_set(clip, opened(tested))
    texts = [caption for captions in TESTED for caption in captions]
    owner = np.repeat(np.arange(5), [len(captions) for captions in TESTED])
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
