"""Seeded batches: always full, every image once an epoch, the same whenever asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gift_core.clip.batches import ShuffledIndices, TrainingImages
from gift_core.clip.images import normalise, pixels_of
from gift_core.clip.pixels import Allowance
from gift_core.errors import UserError
from tests.clip.tiny import Picture, picture, png, tiny_clip


def training_images(
    count: int = 10, *, seed: int = 1, scale: tuple[float, float] = (0.9, 1.0), allowance: Allowance | None = None
) -> TrainingImages:
    samples = [Picture(png(index), index) for index in range(count)]
    return TrainingImages(
        tiny_clip(),
        samples,
        class_prompts=["a", "b"],
        batch_size=4,
        crop_scale=scale,
        names=("test", seed),
        allowance=allowance or Allowance(),
    )


def test_every_epoch_shows_every_image_once() -> None:
    indices = ShuffledIndices(10, 4, ("test",))
    stream = np.concatenate([indices.draw(step) for step in range(5)])
    assert sorted(stream[:10]) == list(range(10))
    assert sorted(stream[10:]) == list(range(10))
    assert stream[:10].tolist() != stream[10:].tolist()


def test_batches_do_not_depend_on_the_order_they_are_asked_for() -> None:
    indices = ShuffledIndices(10, 4, ("test",))
    assert indices.draw(7).tolist() == [ShuffledIndices(10, 4, ("test",)).draw(step) for step in range(8)][7].tolist()


def test_a_task_smaller_than_a_batch_is_drawn_with_replacement() -> None:
    drawn = ShuffledIndices(3, 8, ("test",)).draw(0)
    assert len(drawn) == 8 and set(drawn) <= {0, 1, 2}


def test_a_batch_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, again, other = (training_images(seed=seed).draw(2) for seed in (1, 1, 2))
    assert torch.equal(first.images_BCHW, again.images_BCHW) and torch.equal(first.labels_B, again.labels_B)
    assert not torch.equal(first.images_BCHW, other.images_BCHW)


def test_labels_belong_to_their_images() -> None:
    batch = training_images(scale=(1.0, 1.0)).draw(0)
    clip = tiny_clip()
    for image_CHW, label in zip(batch.images_BCHW, batch.labels_B, strict=True):
        whole = normalise(clip, pixels_of(picture(int(label)))[None])[0]
        assert (image_CHW - whole).abs().mean() < 0.7  # another picture is 1.6 away


def test_large_images_are_kept_at_eight_sevenths_of_the_models_size() -> None:
    images = TrainingImages(
        tiny_clip(),
        [Picture(png(0, width=200, height=100), 0)],
        class_prompts=["a"],
        batch_size=1,
        crop_scale=(0.9, 1.0),
        names=("test",),
        allowance=Allowance(),
    )
    assert images._store.fetch([0])[0].shape == (3, 18, 36)
    assert images.draw(0).images_BCHW.shape == (1, 3, 16, 16)


def test_a_task_without_training_images_is_refused() -> None:
    with pytest.raises(UserError, match="no training images"):
        training_images(0)


@pytest.mark.parametrize("room", [0, 4])
def test_batches_do_not_depend_on_how_many_images_are_kept(room: int) -> None:
    kept, decoded_anew = training_images(), training_images(allowance=Allowance(room * 3 * 16 * 16))
    for step in (0, 5, 1, 3):  # several epochs, in any order
        expected, found = kept.draw(step), decoded_anew.draw(step)
        assert torch.equal(found.images_BCHW, expected.images_BCHW) and torch.equal(found.labels_B, expected.labels_B)
    assert (kept._store.kept, decoded_anew._store.kept) == (10, room)
