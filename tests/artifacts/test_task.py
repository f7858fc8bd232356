"""An ingested task: writing it, reading it, and its index of stored images."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.tars import write_tar
from gift_core.artifacts.task import (
    TaskInfo,
    images_at,
    index_task,
    iterate_task,
    read_task,
    write_task,
)
from tests.artifacts.damage import broken_message, change_json, cut, png, tree_hash

INFO = TaskInfo(
    "birds", ("great tit", "wren"), ("a photo of a {}.", "a {}."), "folder", notes=("incomplete: 7 of 8 images",)
)
TRAIN = [(png(index), "png", index % 2) for index in range(5)]
TEST = [(png(100 + index), "png", index % 2) for index in range(2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The task birds."""
    write_task(tmp_path / "birds", INFO, TRAIN, TEST, images_per_shard=2)
    return tmp_path / "birds"


def test_what_is_written_in_shards_of_the_asked_size_is_read_in_its_order(tmp_path: Path) -> None:
    """The same images give the same bytes. Skipped files and late notes are read after both splits."""
    for name in ("a", "b"):
        folder, skipped, late = tmp_path / name / "birds", list[tuple[str, str]](), list[str]()

        def test_images(skipped: list[tuple[str, str]] = skipped, late: list[str] = late) -> Any:
            yield from TEST
            skipped.append(("test/wren/last.png", "not an image"))
            late.append("2 images in both splits.")

        info = write_task(folder, INFO, TRAIN, test_images(), images_per_shard=2, skipped=skipped, notes=late)
        assert info.shards("train") == ["train-00000.tar", "train-00001.tar", "train-00002.tar"]
        assert info.counts == {"train": 5, "test": 2}
        assert info.skipped == (("test/wren/last.png", "not an image"),)
        assert info.notes == (*INFO.notes, "2 images in both splits.")
        assert read_task(folder) == info
        assert list(iterate_task(folder, "train")) == [(image, label) for image, _, label in TRAIN]
        assert list(iterate_task(folder, "test")) == [(image, label) for image, _, label in TEST]
    assert tree_hash(tmp_path / "a" / "birds") == tree_hash(tmp_path / "b" / "birds")


def test_the_name_of_a_tar_does_not_lead_out_of_the_folder(folder: Path) -> None:
    path = folder / "task.json"
    change_json(path, lambda record: record.update(hashes={"../train-00000.tar": "0" * 64}))
    assert "String should match pattern" in broken_message(lambda: read_task(folder), path, "ingest")


def test_a_task_is_described_without_its_tars(folder: Path) -> None:
    written, tar = read_task(folder), folder / "train-00001.tar"
    tar.unlink()
    assert read_task(folder) == written
    assert "the file is missing" in broken_message(lambda: index_task(folder, "train"), tar, "ingest")


def test_images_are_found_by_their_position_in_the_split(folder: Path) -> None:
    info = read_task(folder)
    for positions in ([3, 0], [1, 2, 3, 4], list[int]()):
        found = images_at(folder, info, "train", positions)
        expected = {at: (TRAIN[at][0], TRAIN[at][2]) for at in positions}
        assert {at: (image.read(), image.label) for at, image in found.items()} == expected
    cut(folder / "train-00001.tar", 0.1)
    broken_message(lambda: images_at(folder, info, "train", [2]), folder / "train-00001.tar", "ingest")


def test_a_changed_tar_and_one_without_labels_are_refused(folder: Path) -> None:
    tar = folder / "train-00001.tar"
    write_tar(tar, [("00000002", {"png": png(2)})])
    assert "its sha256 should be" in broken_message(lambda: index_task(folder, "train"), tar, "ingest")
    change_json(folder / "task.json", lambda record: record["hashes"].update({tar.name: sha256_of(tar)}))
    assert "should be one image and its .cls" in broken_message(lambda: index_task(folder, "train"), tar, "ingest")


def test_stored_images_are_read_in_any_order_by_several_threads(folder: Path) -> None:
    index = index_task(folder, "train")
    assert [image.file.tar.name for image in index] == [f"train-0000{shard}.tar" for shard in (0, 0, 1, 1, 2)]
    order = [4, 0, 3, 3, 1, 2, 4] * 10
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: (index[number].read(), index[number].label), order))
    assert found == [(TRAIN[number][0], TRAIN[number][2]) for number in order]


def test_a_task_of_pairs_keeps_captions_and_one_of_classes_has_no_field_for_them(folder: Path, tmp_path: Path) -> None:
    pairs = [(png(index), "png", (f"picture {index}", "one of all")) for index in range(4)]
    info = TaskInfo("pets", ("one of all", "picture 3"), ("{}",), "pairs")
    written = write_task(tmp_path / "pets", info, pairs, pairs[:2], images_per_shard=3)
    assert (written.kind, written.captions) == ("pairs", {"train": 8, "test": 4})
    assert read_task(tmp_path / "pets") == written and "captions" not in json.loads((folder / "task.json").read_text())
    images = index_task(tmp_path / "pets", "train")
    assert [image.captions for image in images] == [captions for _, _, captions in pairs]
    assert [image.label for image in images] == [0, 0, 0, 1]  # of the first caption that stands for the task
