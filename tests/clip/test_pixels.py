"""Decoded images are kept up to a bound, and are the same whether they were kept or not."""

from __future__ import annotations

import threading

import pytest
import torch

from gift_core.clip.images import evaluation_pixels, pixels_of
from gift_core.clip.pixels import Allowance, PixelStore, Read, decoded, evaluation_preparation, in_memory
from gift_core.clip.streams import stream_image_features
from gift_core.clip.zero_shot import image_features
from tests.clip.tiny import picture, png, tiny_clip

CLIP = tiny_clip()
PREPARE = evaluation_preparation(CLIP)
IMAGES = [png(seed, width=20 + seed) for seed in range(9)]
EACH = 3 * 16 * 16  # bytes of one of them, decoded


class Counted:
    """An encoded image that counts how often it is read."""

    def __init__(self, image: bytes) -> None:
        self.image, self.reads = image, 0

    def __call__(self) -> bytes:
        self.reads += 1
        return self.image


def test_preparing_one_by_one_equals_preparing_all() -> None:
    assert torch.equal(torch.stack([PREPARE(image) for image in IMAGES]), evaluation_pixels(CLIP, IMAGES))


@pytest.mark.parametrize("room", [0, 4, 9])
def test_what_is_kept_changes_no_pixel(room: int) -> None:
    store = PixelStore([in_memory(image) for image in IMAGES], PREPARE, Allowance(room * EACH + 5))
    expected = evaluation_pixels(CLIP, IMAGES)
    for numbers in ([0, 8, 3, 3, 1], [8, 2, 4, 0, 7], [5, 6, 1]):
        assert torch.equal(torch.stack(store.fetch(numbers)), expected[numbers])
    assert store.kept == room


def test_an_image_that_is_kept_is_read_once_and_one_that_is_not_every_time() -> None:
    reads = [Counted(image) for image in IMAGES[:4]]
    store = PixelStore(reads, PREPARE, Allowance(2 * EACH))
    for _ in range(3):
        store.fetch([0, 1, 2, 3])
    assert [read.reads for read in reads] == [1, 1, 3, 3]


def test_an_image_drawn_twice_in_a_batch_is_decoded_once() -> None:
    read = Counted(IMAGES[0])
    PixelStore([read], PREPARE, Allowance(0)).fetch([0, 0, 0])
    assert read.reads == 1


def test_stores_share_an_allowance() -> None:
    allowance = Allowance(3 * EACH)
    stores = [PixelStore([in_memory(image) for image in IMAGES], PREPARE, allowance) for _ in range(2)]
    for store in stores:
        store.fetch([0, 1])
    assert [store.kept for store in stores] == [2, 1]


@pytest.mark.parametrize("room", [0, 70, 150])
def test_a_stream_beyond_the_allowance_stays_encoded_and_gives_the_same_pixels(room: int) -> None:
    images = [png(seed % 7, width=17) for seed in range(150)]  # more than two chunks
    store = PixelStore.filled(iter(images), PREPARE, Allowance(room * EACH))
    assert len(store) == 150 and store.kept == room
    assert torch.equal(torch.stack(store.fetch(range(150))), evaluation_pixels(CLIP, images))


def test_images_are_yielded_in_their_order_from_several_threads() -> None:
    threads = set()

    def prepare(image: bytes) -> torch.Tensor:
        threads.add(threading.current_thread().name)
        return PREPARE(image)

    images = [png(seed) for seed in range(130)]
    found = list(decoded(map(in_memory, images), prepare))
    assert torch.equal(torch.stack(found), torch.stack([pixels_of(picture(seed)) for seed in range(130)]))
    assert all(name.startswith("decode") for name in threads)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]  # all are gone


def test_an_error_of_reading_is_raised() -> None:
    def broken() -> bytes:
        raise OSError("gone")

    reads: list[Read] = [in_memory(IMAGES[0]), broken]
    with pytest.raises(OSError, match="gone"):
        PixelStore(reads, PREPARE, Allowance()).fetch([0, 1])


@pytest.mark.parametrize("batch_size", [1, 4, 9, 20])
def test_streamed_features_are_those_of_all_images_together(batch_size: int) -> None:
    expected = image_features(CLIP, evaluation_pixels(CLIP, IMAGES), batch_size=batch_size)
    found = stream_image_features(CLIP, map(in_memory, IMAGES), batch_size=batch_size)
    assert torch.equal(found, expected)


def test_no_images_have_no_features() -> None:
    assert stream_image_features(CLIP, [], batch_size=4).shape == (0, 8)
