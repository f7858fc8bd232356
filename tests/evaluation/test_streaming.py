"""Test splits in batches: the same numbers as with all pixels at once, and no more of them in memory than allowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gift_core.artifacts.task import TaskInfo, iterate_task, read_task, write_task
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.zero_shot import class_features, image_features, predict
from gift_core.errors import UserError
from gift_core.evaluation import streaming
from gift_core.evaluation.streaming import HeldOut, decoded_batches, encode_held_out
from gift_core.evaluation.task_incremental import top1
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
    samples = list(iterate_task(folder, "test"))
    return evaluation_pixels(tiny_clip(), [image for image, _ in samples]), torch.tensor(
        [label for _, label in samples]
    )


def batches_of(images: HeldOut) -> list[torch.Tensor]:
    return [batch.pixels_BCHW for batch in images.batches(tiny_clip())]


@pytest.mark.parametrize("batch_size", [1, 4, 16, 23, 40])
def test_streamed_batches_are_the_split_in_its_order(folder: Path, batch_size: int) -> None:
    pixels_NCHW, labels_N = whole_split(folder)
    batches = list(decoded_batches(tiny_clip(), iterate_task(folder, "test"), batch_size=batch_size))
    assert torch.equal(torch.cat([batch.pixels_BCHW for batch in batches]), pixels_NCHW)
    assert torch.equal(torch.cat([batch.labels_B for batch in batches]), labels_N)
    assert [len(batch.labels_B) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


@pytest.mark.parametrize("kept_bytes", [0, 9 * BYTES_AN_IMAGE, 2**20])
def test_features_and_top1_have_the_bits_of_the_whole_split_at_once(folder: Path, kept_bytes: int) -> None:
    clip, info = tiny_clip(), read_task(folder)
    pixels_NCHW, labels_N = whole_split(folder)
    at_once_ND = image_features(clip, pixels_NCHW, batch_size=4)
    images = HeldOut(folder, batch_size=4, kept_bytes=kept_bytes)
    for _ in range(2):
        (streamed_ND,), streamed_labels_N = encode_held_out([clip], images)
        assert torch.equal(streamed_ND, at_once_ND) and torch.equal(streamed_labels_N, labels_N)
    class_KD = class_features(clip, info.class_names, info.templates, batch_size=4)
    hits = (predict(at_once_ND, class_KD) == labels_N).sum().item()
    assert top1(clip, images) == pytest.approx(hits / IMAGES, abs=1e-12)
    assert 0 < hits < IMAGES


def test_several_models_read_each_image_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    clips = [tiny_clip(seed=0), tiny_clip(seed=1)]
    features, _ = encode_held_out(clips, HeldOut(folder, batch_size=4))
    assert len(read) == IMAGES
    for clip, image_ND in zip(clips, features, strict=True):
        assert torch.equal(image_ND, encode_held_out([clip], HeldOut(folder, batch_size=4))[0][0])


@pytest.mark.parametrize(("room", "decoded_again"), [(0, 23), (3, 23), (4, 19), (9, 15), (22, 3), (23, 0)])
def test_whole_batches_are_kept_as_far_as_the_bytes_reach(
    folder: Path, monkeypatch: pytest.MonkeyPatch, room: int, decoded_again: int
) -> None:
    images = HeldOut(folder, batch_size=4, kept_bytes=room * BYTES_AN_IMAGE)
    first = batches_of(images)
    decoded: list[int] = []

    def note(clip: object, images: list[bytes]) -> torch.Tensor:
        decoded.append(len(images))
        return evaluation_pixels(tiny_clip(), images)

    monkeypatch.setattr(streaming, "evaluation_pixels", note)
    again = batches_of(images)
    assert sum(decoded) == decoded_again
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_split_is_not_read_faster_than_it_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    batches = HeldOut(folder, batch_size=2).batches(tiny_clip())
    next(batches)
    assert len(read) == 2 * (streaming.BATCHES_AHEAD + 1)


def test_a_damaged_image_is_an_error_and_no_missing_row(folder: Path) -> None:
    samples = [(png(0), 0), (b"no image", 1), (png(1), 0)]
    with pytest.raises(OSError, match="cannot identify image"):
        list(decoded_batches(tiny_clip(), samples, batch_size=2))


def test_a_task_without_test_images_is_refused(tmp_path: Path) -> None:
    info = TaskInfo("shapes", ("one", "two"), ("a {}.",), "made for a test")
    write_task(tmp_path / "shapes", info, [(png(0), "png", 0)], [], images_per_shard=10)
    with pytest.raises(UserError, match=r"shapes: the task has no test images\. Give it some"):
        HeldOut(tmp_path / "shapes", batch_size=4)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one with each image taken from the tars."""
    read: list[int] = []

    def counting(folder: Path, split: str) -> Iterator[tuple[bytes, int]]:
        for sample in iterate_task(folder, split):
            read.append(1)
            yield sample

    monkeypatch.setattr(streaming, "iterate_task", counting)
    return read
