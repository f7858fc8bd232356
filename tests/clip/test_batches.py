"""Seeded batches: always full, every image once per epoch, each label with its image."""

from __future__ import annotations

import numpy as np
import torch

from gift_core.clip.batches import ShuffledIndices, TrainingImages
from gift_core.clip.images import CacheBudget, normalize, pixels_of
from gift_core.clip.model import Clip
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
