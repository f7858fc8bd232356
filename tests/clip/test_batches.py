"""Seeded batches: always full, every image once per epoch; crops as torchvision and Pillow make them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gift_core.clip.batches import ShuffledIndices, TrainingImages, crop_and_resize, sample_boxes
from gift_core.clip.images import CacheBudget, normalize, pixels_of
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from tests.clip.tiny import Picture, picture, png, tiny_clip

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


def test_a_task_smaller_than_a_batch_is_sampled_with_replacement_and_an_empty_one_is_refused() -> None:
    sampled = ShuffledIndices(3, 8, ("test",)).sample(0)
    assert len(sampled) == 8 and set(sampled) <= {0, 1, 2}
    with pytest.raises(UserError, match="no training images"):
        task(count=0)


def test_a_batch_depends_on_the_seed_and_not_on_how_many_images_are_cached() -> None:
    small = task(cache_budget=CacheBudget(4 * 3 * 16 * 16))
    for step in (0, 5, 1, 3):  # several epochs, in any order
        first, again, other = task().sample(step), small.sample(step), task(seed=2).sample(step)
        assert torch.equal(first.images_BCHW, again.images_BCHW) and torch.equal(
            first.targets["labels_B"], again.targets["labels_B"]
        )
        assert not torch.equal(first.images_BCHW, other.images_BCHW)
    assert small._cache.cached_count == 4


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
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 60).all() and (left + width <= 80).all()
    shares = height * width / 4800
    assert shares.min() > 0.48 and shares.max() < 0.62
    ratios = width / height
    assert ratios.min() > 0.72 and ratios.max() < 1.37
    top, left, height, width = boxes_for(32, 32, count=2000).T
    assert top.min() == 0 and left.min() == 0
    assert (top + height).max() == 32 and (left + width).max() == 32


def test_a_strip_gets_the_largest_centered_box_when_no_attempt_fits() -> None:
    assert np.array_equal(boxes_for(100, 10, count=1), [[43, 0, 13, 10]])  # 10 / (3/4) = 13.3
    assert np.array_equal(boxes_for(10, 100, count=1), [[0, 43, 10, 13]])
