"""Seeded batches: always full, every image once per epoch; crops as torchvision and Pillow make them; with captions.

Also retrieval of images and captions, by hand and by a second implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gift_core.artifacts.task import index_task
from gift_core.clip.batches import (
    JointImages,
    ShuffledIndices,
    TrainingBatch,
    TrainingImages,
    TrainingPairs,
    crop_and_resize,
    sample_boxes,
)
from gift_core.clip.encoding import cut_texts, image_features, text_features, tokenize
from gift_core.clip.images import CacheBudget, evaluation_pixels, normalize, pixels_of
from gift_core.clip.model import Clip
from gift_core.clip.task_tests import TestSet, first_right
from gift_core.clip.task_tests import test_of as measure_test_set
from tests.clip.tiny import CONTEXT, Picture, picture, png, tiny_clip
from tests.made import made_task

CLIP = tiny_clip()
PROMPTS = {"birds": ["a tit.", "a wren.", "an owl."], "digits": ["a one.", "a two."], "pets": ["a cat.", "an owl."]}


def task(
    name: str = "birds",
    *,
    count: int = 10,
    seed: int = 1,
    scale: tuple[float, float] = (0.9, 1.0),
    cache_budget: CacheBudget | None = None,
    clip: Clip = CLIP,
) -> TrainingImages:
    """Images of the task, different for each task."""
    first = 100 * list(PROMPTS).index(name)
    samples = [Picture(png(first + row), row % len(PROMPTS[name])) for row in range(count)]
    options = {"batch_size": 4, "crop_scale": scale, "cache_budget": cache_budget or CacheBudget()}
    return TrainingImages(clip, samples, class_prompts=PROMPTS[name], names=("test", seed, name), **options)


def test_every_epoch_shows_every_image_once_whatever_the_order_of_the_requests() -> None:
    indices = ShuffledIndices(10, 4, ("test",))
    batches = [indices.sample(step) for step in range(8)]
    stream = np.concatenate(batches)
    assert sorted(stream[:10]) == sorted(stream[10:20]) == list(range(10))
    assert stream[:10].tolist() != stream[10:20].tolist()
    other = ShuffledIndices(10, 4, ("test",))
    other.sample(6)[:] = 0  # what the caller does with a batch changes no other batch
    assert other.sample(7).tolist() == batches[7].tolist()
    sampled = ShuffledIndices(3, 8, ("test",)).sample(0)  # fewer than a batch: with replacement
    assert len(sampled) == 8 and set(sampled) <= {0, 1, 2}


def test_a_batch_depends_on_the_seed_and_not_on_how_many_images_are_cached() -> None:
    small = task(cache_budget=CacheBudget(4 * 3 * 16 * 16))
    for step in (0, 5, 1, 3):  # several epochs, in any order
        first, again, other = task().sample(step), small.sample(step), task(seed=2).sample(step)
        assert torch.equal(first.images_BCHW, again.images_BCHW)
        assert torch.equal(first.targets["labels_B"], again.targets["labels_B"])
        assert not torch.equal(first.images_BCHW, other.images_BCHW)
    assert len(small._cache._cached) == 4


def test_labels_belong_to_their_images() -> None:
    images = [normalize(CLIP, pixels_of(picture(row))[None])[0] for row in range(10)]
    batch = task(scale=(1.0, 1.0)).sample(0)
    for image_CHW, label in zip(batch.images_BCHW, batch.targets["labels_B"], strict=True):
        distances = [float((image_CHW - whole).abs().mean()) for whole in images]
        assert min(distances) < 0.7 and distances.index(min(distances)) % 3 == label  # others are about 1.6 away


def boxes_for(height: int, width: int, *, count: int = 500, scale: tuple[float, float] = (0.9, 1.0)) -> np.ndarray:
    sides = np.full(count, height), np.full(count, width)
    return sample_boxes(*sides, scale=scale, generator=np.random.default_rng(1))


@pytest.mark.parametrize(("width", "height", "size"), [(16, 16, 16), (32, 32, 64), (50, 37, 16)])
def test_pixels_equal_pillows_within_one_gray_level(width: int, height: int, size: int) -> None:
    image = picture(3, width=width, height=height)
    boxes = boxes_for(height, width, count=5)
    ours_BCHW = crop_and_resize([pixels_of(image)] * 5, boxes, size=size)
    for ours_CHW, (top, left, box_height, box_width) in zip(ours_BCHW, boxes.tolist(), strict=True):
        cut = image.crop((left, top, left + box_width, top + box_height))
        expected = pixels_of(cut.resize((size, size), Image.Resampling.BICUBIC)).float()
        assert (ours_CHW - expected).abs().max() <= 1


def test_images_of_different_sizes_are_cropped_as_if_alone() -> None:
    images = [pixels_of(picture(5)), pixels_of(picture(6, width=20, height=30))]
    boxes = np.array([[1, 0, 15, 16], [0, 2, 30, 17]])
    together = crop_and_resize(images, boxes, size=16)
    alone = [crop_and_resize([image], box[None], size=16)[0] for image, box in zip(images, boxes, strict=True)]
    assert torch.equal(together, torch.stack(alone))


def test_boxes_lie_inside_cover_the_requested_share_and_reach_every_edge() -> None:
    top, left, height, width = boxes_for(60, 80, scale=(0.5, 0.6)).T
    assert min(top.min(), left.min()) >= 0 and (top + height).max() <= 60 and (left + width).max() <= 80
    shares, ratios = height * width / 4800, width / height
    assert shares.min() > 0.48 and shares.max() < 0.62
    assert ratios.min() > 0.72 and ratios.max() < 1.37
    top, left, height, width = boxes_for(32, 32, count=2000).T
    assert top.min() == 0 and left.min() == 0
    assert (top + height).max() == 32 and (left + width).max() == 32


def test_a_strip_gets_the_largest_centered_box_when_no_attempt_fits() -> None:
    assert np.array_equal(boxes_for(100, 10, count=1), [[43, 0, 13, 10]])  # 10 / (3/4) = 13.3
    assert np.array_equal(boxes_for(10, 100, count=1), [[0, 43, 10, 13]])


CAPTIONS = [("a cat.", "the cat", "one cat"), ("a dog.", "the dog"), ("a cat.",), ("a hen.",)]


def write_pets(folder: Path, all_captions: Sequence[tuple[str, ...]]) -> Path:
    """The training and the test images of a task have these captions."""
    return made_task(folder / "pets", all_captions, ("a cat.", "a dog."), ("{}",))


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


def test_captions_with_the_same_tokens_share_the_target_too(tmp_path: Path) -> None:
    """They differ in case, in a second space, and after the context."""
    long = "a cat " * CONTEXT
    folder = write_pets(tmp_path, [("a cat.",), ("A  Cat.",), (f"{long}red",), (f"{long}blue",)])
    batch = pairs(folder).sample(0)
    is_long_B = (tokens_of(batch) != 0).sum(dim=1) > 10
    assert torch.equal(batch.targets["targets_BB"] == 0.5, is_long_B[:, None] == is_long_B[None])


def test_a_process_decodes_its_share_and_has_all_texts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs(folder).sample(3)
    monkeypatch.setattr("gift_core.clip.batches.own_share", lambda rows: slice(1, 3))
    part = pairs(folder).sample(3)
    assert torch.equal(tokens_of(whole), tokens_of(part))
    assert torch.equal(whole.targets["targets_BB"], part.targets["targets_BB"])
    assert torch.equal(whole.images_BCHW[1:3], part.images_BCHW[1:3])
    assert not part.images_BCHW[[0, 3]].any()


def test_a_joint_round_has_pairs_and_classes(folder: Path) -> None:
    joint = JointImages([pairs(folder), task("digits", count=4)], ("test",))
    assert sorted(joint.sample(iteration).kind for iteration in range(2)) == ["classes", "pairs"]
    tokens_KL = tokenize(CLIP, joint.class_prompts)
    of_classes = next(batch for batch in map(joint.sample, range(2)) if batch.kind == "classes")
    assert torch.equal(of_classes.texts(tokens_KL), tokens_KL[1:])


def test_texts_that_fill_the_context_are_counted(folder: Path) -> None:
    fits, fills = "cat " * (CONTEXT - 3), "cat " * (CONTEXT + 5)
    assert cut_texts(CLIP, ["a cat.", fits, fills]) == 1
    assert pairs(folder).summary == "4 images with 7 captions"


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
    clip = tiny_clip()
    test = measure_test_set(clip, TestSet(write_pets(tmp_path, TESTED), batch_size=2, cache_budget=CacheBudget(0)))
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
