"""Seeded batches: always full, every image once per epoch; crops as torchvision and Pillow make them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gift_core.clip.batches import (
    JointImages,
    ShuffledIndices,
    TaskBatch,
    TrainingImages,
    crop_and_resize,
    sample_boxes,
)
from gift_core.clip.images import CacheBudget, normalize, pixels_of
from gift_core.errors import UserError
from tests.clip.tiny import CPU, Picture, picture, png, tiny_clip


def training_images(
    count: int = 10,
    *,
    seed: int = 1,
    scale: tuple[float, float] = (0.9, 1.0),
    cache_budget: CacheBudget | None = None,
    device: torch.device = CPU,
) -> TrainingImages:
    samples = [Picture(png(index), index) for index in range(count)]
    return TrainingImages(
        tiny_clip(device=device),
        samples,
        class_prompts=["a", "b"],
        batch_size=4,
        crop_scale=scale,
        names=("test", seed),
        cache_budget=cache_budget or CacheBudget(),
    )


def test_every_epoch_shows_every_image_once() -> None:
    indices = ShuffledIndices(10, 4, ("test",))
    stream = np.concatenate([indices.sample(step) for step in range(5)])
    assert sorted(stream[:10]) == list(range(10))
    assert sorted(stream[10:]) == list(range(10))
    assert stream[:10].tolist() != stream[10:].tolist()


def test_batches_do_not_depend_on_the_order_of_the_requests() -> None:
    in_turn = [ShuffledIndices(10, 4, ("test",)).sample(step) for step in range(8)]
    indices = ShuffledIndices(10, 4, ("test",))
    indices.sample(6)[:] = 0  # what the caller does with a batch changes no other batch
    assert indices.sample(7).tolist() == in_turn[7].tolist()


def test_a_task_smaller_than_a_batch_is_sampled_with_replacement() -> None:
    sampled = ShuffledIndices(3, 8, ("test",)).sample(0)
    assert len(sampled) == 8 and set(sampled) <= {0, 1, 2}


def test_a_batch_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, again, other = (training_images(seed=seed).sample(2) for seed in (1, 1, 2))
    assert torch.equal(first.images_BCHW, again.images_BCHW) and torch.equal(first.labels_B, again.labels_B)
    assert not torch.equal(first.images_BCHW, other.images_BCHW)


def test_labels_belong_to_their_images() -> None:
    batch = training_images(scale=(1.0, 1.0)).sample(0)
    clip = tiny_clip()
    for image_CHW, label in zip(batch.images_BCHW, batch.labels_B, strict=True):
        whole = normalize(clip, pixels_of(picture(int(label)))[None])[0]
        assert (image_CHW - whole).abs().mean() < 0.7  # another picture is 1.6 away


def test_a_task_without_training_images_is_refused() -> None:
    with pytest.raises(UserError, match="no training images"):
        training_images(0)


@pytest.mark.parametrize("room", [0, 4])
def test_batches_do_not_depend_on_how_many_images_are_cached(room: int) -> None:
    cached, decoded_anew = training_images(), training_images(cache_budget=CacheBudget(room * 3 * 16 * 16))
    for step in (0, 5, 1, 3):  # several epochs, in any order
        expected, found = cached.sample(step), decoded_anew.sample(step)
        assert torch.equal(found.images_BCHW, expected.images_BCHW) and torch.equal(found.labels_B, expected.labels_B)
    assert (cached._cache.cached_count, decoded_anew._cache.cached_count) == (10, room)


PROMPTS = {"birds": ["a tit.", "a wren.", "an owl."], "digits": ["a one.", "a two."], "pets": ["a cat.", "an owl."]}
CLIP = tiny_clip()


def task(name: str, *, seed: int = 1) -> TrainingImages:
    """Ten images of the task, different for each task."""
    first = 100 * list(PROMPTS).index(name)
    samples = [Picture(png(first + row), row % len(PROMPTS[name])) for row in range(10)]
    options = {"batch_size": 4, "crop_scale": (0.9, 1.0), "cache_budget": CacheBudget()}
    return TrainingImages(CLIP, samples, class_prompts=PROMPTS[name], names=("test", seed, name), **options)


def joint(*, seed: int = 1) -> JointImages:
    return JointImages([task(name) for name in PROMPTS], ("test", seed))


def task_of(batch: TaskBatch, rounds: int) -> str:
    """The task that the images are from: the one with the same batch, by itself, in this round."""
    owners = [name for name in PROMPTS if torch.equal(task(name).sample(rounds).images_BCHW, batch.images_BCHW)]
    assert len(owners) == 1
    return owners[0]


def test_every_round_has_the_next_batch_of_every_task() -> None:
    batches = joint()
    orders = [[task_of(batches.sample(3 * rounds + turn), rounds) for turn in range(3)] for rounds in range(6)]
    assert all(sorted(order) == sorted(PROMPTS) for order in orders)
    assert len({tuple(order) for order in orders}) > 1  # not always in the same order


def test_labels_of_a_joint_batch_count_within_the_prompts_of_its_own_task() -> None:
    batches = joint()
    assert batches.class_prompts == ("a tit.", "a wren.", "an owl.", "a one.", "a two.", "a cat.", "an owl.")
    assert JointImages([], ("test",)).class_prompts == ()
    for step in range(6):
        batch = batches.sample(step)
        name = task_of(batch, step // 3)
        assert list(batches.class_prompts[batch.classes]) == PROMPTS[name]
        assert torch.equal(batch.labels_B, task(name).sample(step // 3).labels_B)


def test_a_task_alone_is_classified_among_all_its_classes() -> None:
    assert PROMPTS["birds"][task("birds").sample(0).classes] == PROMPTS["birds"]


def test_the_order_of_joint_batches_depends_on_the_seed_and_not_on_the_requests() -> None:
    orders = [[task_of(joint(seed=seed).sample(step), step // 3) for step in range(9)] for seed in (1, 2)]
    assert orders[0] != orders[1]
    batches = joint()
    assert [task_of(batches.sample(step), step // 3) for step in range(9)] == orders[0]


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


def test_boxes_lie_inside_and_cover_the_requested_share() -> None:
    top, left, height, width = boxes_for(60, 80, scale=(0.5, 0.6)).T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 60).all() and (left + width <= 80).all()
    shares = height * width / 4800
    assert shares.min() > 0.48 and shares.max() < 0.62
    ratios = width / height
    assert ratios.min() > 0.72 and ratios.max() < 1.37


def test_boxes_reach_every_edge() -> None:
    top, left, height, width = boxes_for(32, 32, count=2000).T
    assert top.min() == 0 and left.min() == 0
    assert (top + height).max() == 32 and (left + width).max() == 32


def test_a_strip_gets_the_largest_centered_box_when_no_attempt_fits() -> None:
    assert np.array_equal(boxes_for(100, 10, count=1), [[43, 0, 13, 10]])  # 10 / (3/4) = 13.3
    assert np.array_equal(boxes_for(10, 100, count=1), [[0, 43, 10, 13]])
