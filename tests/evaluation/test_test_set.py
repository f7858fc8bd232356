"""Test splits in batches: the same numbers as with all pixels at once, and no more of them in memory than allowed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from gift_core.artifacts.task import StoredImage, TaskInfo, iterate_task, read_task, write_task
from gift_core.clip import test_set
from gift_core.clip.encoding import class_features, image_features, predict
from gift_core.clip.images import CacheBudget, evaluation_pixels
from gift_core.clip.model import Clip
from gift_core.clip.test_set import encode_test_set, nearest_classes, share_correct
from gift_core.errors import UserError
from gift_core.work.overlap import prefetch_in_thread
from tests.clip.tiny import png, tiny_clip

IMAGES = 23
BYTES_AN_IMAGE = 3 * 16 * 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    info = TaskInfo("shapes", ("one", "two", "three"), ("a {}.", "the {}"), "made for a test")
    images = [(png(row, width=16 + row, height=40 - row), "png", row % 3) for row in range(IMAGES)]
    write_task(tmp_path / "shapes", info, images[:1], images, images_per_shard=10)
    return tmp_path / "shapes"


def whole_split(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The slow way: every pixel in memory, decoded one after another."""
    images, labels = zip(*iterate_task(folder, "test"), strict=True)
    return evaluation_pixels(tiny_clip(), list(images)), torch.tensor(labels)


def open_test_set(folder: Path, *, batch_size: int, kept_bytes: int = 0) -> test_set.TestSet:
    return test_set.TestSet(folder, batch_size=batch_size, cache_budget=CacheBudget(kept_bytes))


@pytest.mark.parametrize("batch_size", [1, 4, 23, 40])
def test_streamed_batches_are_the_split_in_its_order(folder: Path, batch_size: int) -> None:
    pixels_NCHW, labels_N = whole_split(folder)
    images = open_test_set(folder, batch_size=batch_size)
    batches = list(images.batches(tiny_clip()))
    assert torch.equal(torch.cat(batches), pixels_NCHW)
    assert torch.equal(images.labels_N, labels_N)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


@pytest.mark.parametrize("kept_bytes", [0, 9 * BYTES_AN_IMAGE])
def test_features_and_classes_have_the_bits_of_the_whole_split_at_once(folder: Path, kept_bytes: int) -> None:
    clip, info = tiny_clip(), read_task(folder)
    pixels_NCHW, labels_N = whole_split(folder)
    at_once_ND = image_features(clip, pixels_NCHW, batch_size=4)
    images = open_test_set(folder, batch_size=4, kept_bytes=kept_bytes)
    for _ in range(2):
        (streamed_ND,) = encode_test_set([clip], images)
        assert torch.equal(streamed_ND, at_once_ND)
    class_KD = class_features(clip, info.class_names, info.templates, batch_size=4)
    hits = (predict(at_once_ND, class_KD) == labels_N).sum().item()
    assert torch.equal(nearest_classes(clip, images), predict(at_once_ND, class_KD))
    assert share_correct(nearest_classes(clip, images), labels_N) == pytest.approx(hits / IMAGES, abs=1e-12)
    assert 0 < hits < IMAGES


def test_several_models_read_each_image_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    clips = [tiny_clip(seed=0), tiny_clip(seed=1)]
    features = encode_test_set(clips, open_test_set(folder, batch_size=4))
    assert len(read) == IMAGES
    for clip, image_ND in zip(clips, features, strict=True):
        assert torch.equal(image_ND, encode_test_set([clip], open_test_set(folder, batch_size=4))[0])


@pytest.mark.parametrize("room", [0, 3, 23])
def test_images_are_kept_as_far_as_the_bytes_reach(folder: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    read = count_reads(monkeypatch)
    images = open_test_set(folder, batch_size=4, kept_bytes=room * BYTES_AN_IMAGE)
    first = list(images.batches(tiny_clip()))
    assert len(read) == IMAGES
    again = list(images.batches(tiny_clip()))
    assert len(read) == 2 * IMAGES - room
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_split_is_not_read_faster_than_it_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    batches = open_test_set(folder, batch_size=2).batches(tiny_clip())
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert 2 <= len(read) <= 4


def test_a_damaged_image_is_an_error_and_no_missing_row(tmp_path: Path) -> None:
    info = TaskInfo("shapes", ("one", "two"), ("a {}.",), "made for a test")
    images = [(png(0), "png", 0), (b"no image", "png", 1), (png(1), "png", 0)]
    write_task(tmp_path / "shapes", info, images[:1], images, images_per_shard=10)
    with pytest.raises(OSError, match="cannot identify image"):
        list(open_test_set(tmp_path / "shapes", batch_size=2).batches(tiny_clip()))


def test_a_task_without_test_images_is_refused(tmp_path: Path) -> None:
    info = TaskInfo("shapes", ("one", "two"), ("a {}.",), "made for a test")
    write_task(tmp_path / "shapes", info, [(png(0), "png", 0)], [], images_per_shard=10)
    with pytest.raises(UserError, match=r"shapes: the task has no test images\. Give it some"):
        open_test_set(tmp_path / "shapes", batch_size=4)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one with each image taken from the tars."""
    read: list[int] = []
    whole = StoredImage.read

    def counting(image: StoredImage) -> bytes:
        read.append(1)
        return whole(image)

    monkeypatch.setattr(StoredImage, "read", counting)
    return read


def test_beside_a_gpu_the_next_images_are_read_while_a_batch_is_encoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, was_read = tiny_clip(), threading.Semaphore(0)
    (expected,) = encode_test_set([clip], open_test_set(folder, batch_size=4))
    read, encoded = StoredImage.read, list[int]()

    def reading(image: StoredImage) -> bytes:
        content = read(image)
        was_read.release()
        return content

    def encode(clip: Clip, pixels_BCHW: torch.Tensor, *, batch_size: int) -> torch.Tensor:
        encoded.append(batch_size)
        for _ in range(min(IMAGES - sum(encoded), 4) + (4 if len(encoded) == 1 else 0)):
            assert was_read.acquire(timeout=20)  # the images of the next batch, and at first also those of this one
        return image_features(clip, pixels_BCHW, batch_size=batch_size)

    monkeypatch.setattr(StoredImage, "read", reading)
    monkeypatch.setattr(test_set, "prefetched", prefetch_in_thread)
    monkeypatch.setattr(test_set, "image_features", encode)
    (found,) = encode_test_set([clip], open_test_set(folder, batch_size=4))
    assert torch.equal(found, expected)
    assert encoded == [4, 4, 4, 4, 4, 3]
