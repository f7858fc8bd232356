"""An ingested task: writing it, reading it, and its index of stored images."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.tars import write_tar
from gift_core.artifacts.task import (
    TaskInfo,
    describe_own_task,
    images_at,
    index_tars,
    index_task,
    iterate_task,
    read_task,
    write_task,
)
from gift_core.errors import ContractError
from tests.artifacts.damage import broken_message, cut, png, tree_hash

INFO = TaskInfo(
    "birds", ("great tit", "wren"), ("a photo of a {}.", "a {}."), "folder", notes=("incomplete: 7 of 8 images",)
)
TRAIN = [(png(index), "png", index % 2) for index in range(5)]
TEST = [(png(100 + index), "png", index % 2) for index in range(2)]


def make(folder: Path) -> TaskInfo:
    return write_task(folder, INFO, TRAIN, TEST, images_per_shard=2, skipped=[("train/wren/x.jpg", "not an image")])


def change_json(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / "task.json").read_text())
    change(record)
    (folder / "task.json").write_text(json.dumps(record))


def test_a_task_is_split_into_shards_of_the_asked_size(tmp_path: Path) -> None:
    info = make(tmp_path / "birds")
    assert info.shards("train") == ["train-00000.tar", "train-00001.tar", "train-00002.tar"]
    assert info.shards("test") == ["test-00000.tar"]
    assert info.counts == {"train": 5, "test": 2}


def test_read_returns_what_was_written(tmp_path: Path) -> None:
    written = make(tmp_path / "birds")
    assert read_task(tmp_path / "birds") == written


def test_notes_come_back_as_they_were_given(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    assert read_task(tmp_path / "birds").notes == ("incomplete: 7 of 8 images",)


def test_images_and_labels_come_back_in_their_order(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    assert list(iterate_task(tmp_path / "birds", "train")) == [(image, label) for image, _, label in TRAIN]
    assert list(iterate_task(tmp_path / "birds", "test")) == [(image, label) for image, _, label in TEST]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "a" / "birds")
    make(tmp_path / "b" / "birds")
    assert tree_hash(tmp_path / "a" / "birds") == tree_hash(tmp_path / "b" / "birds")


def test_skipped_files_are_read_after_both_splits(tmp_path: Path) -> None:
    skipped: list[tuple[str, str]] = []

    def test_images() -> Any:
        yield from TEST
        skipped.append(("test/wren/last.png", "not an image"))

    info = write_task(tmp_path / "birds", INFO, TRAIN, test_images(), images_per_shard=10, skipped=skipped)
    assert info.skipped == (("test/wren/last.png", "not an image"),)
    assert read_task(tmp_path / "birds").skipped == info.skipped


def test_late_notes_are_read_after_both_splits(tmp_path: Path) -> None:
    found: list[str] = []

    def test_images() -> Any:
        yield from TEST
        found.append("2 images in both splits.")

    info = dataclasses.replace(INFO, notes=("from the start",))
    written = write_task(tmp_path / "birds", info, TRAIN, test_images(), images_per_shard=10, notes=found)
    assert written.notes == ("from the start", "2 images in both splits.") == read_task(tmp_path / "birds").notes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 100_000, "it should be JSON, but it is nested too deep"),
        ('{"name": ' + "9" * 5000 + "}", "it should be JSON, but it has a whole number of 5000 digits"),
        ('["wren", "heron"]', "it should be a JSON object, it is a list"),
    ],
    ids=["deep", "digits", "list"],
)
def test_a_hostile_task_json_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    make(tmp_path / "birds")
    path = tmp_path / "birds" / "task.json"
    path.write_text(text)
    assert expected in broken_message(lambda: read_task(tmp_path / "birds"), path, "ingest")


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Any:
        yield TEST[0]
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_task(tmp_path / "birds", INFO, TRAIN, failing(), images_per_shard=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"class_names": ("wren",)}, "at least two classes, it has 1"),
        ({"class_names": ("wren", "wren")}, "unique class names"),
        ({"class_names": ("wren", " ")}, "no empty class name"),
        ({"templates": ()}, "templates that contain {}"),
        ({"templates": ("a photo",)}, "templates that contain {}"),
    ],
)
def test_an_unsound_description_is_refused_on_write(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    info = dataclasses.replace(INFO, **change)
    with pytest.raises(ContractError, match=expected):
        write_task(tmp_path / "birds", info, TRAIN, TEST, images_per_shard=2)
    assert list(tmp_path.iterdir()) == []


def test_a_label_without_a_class_is_an_assertion_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="label 2 of 2 classes"):
        write_task(tmp_path / "birds", INFO, [(png(0), "png", 2)], TEST, images_per_shard=2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda record: record.pop("class_names"), "there should be a field 'class_names'"),
        (lambda record: record.update(class_names="wren"), "'class_names' should be list, it is str"),
        (lambda record: record.update(class_names=["wren"]), "at least two classes, it has 1"),
        (lambda record: record.update(counts={"train": 5}), "counts should name train and test, they name train"),
        (lambda record: record.update(skipped=[["only a file"]]), "skipped should hold lists of 2 texts"),
        (lambda record: record.pop("notes"), "there should be a field 'notes'"),
        (lambda record: record.update(notes="incomplete"), "'notes' should be list, it is str"),
        (lambda record: record.update(notes=[["incomplete"]]), "notes should hold texts"),
        (lambda record: record.update(class_names=[["wren"], ["heron"]]), "class_names should hold texts, one is ['wr"),
        (lambda record: record.update(class_names=[1, 2]), "class_names should hold texts, one is 1"),
        (lambda record: record.update(class_names=[None, "wren"]), "class_names should hold texts, one is None"),
        (lambda record: record.update(templates=[5]), "templates should hold texts, one is 5"),
        (lambda record: record.update(skipped=[["x", 5]]), "skipped should hold texts, one is 5"),
        (lambda record: record.update(skipped=["ab"]), "skipped should hold lists of 2 texts, one is 'ab'"),
        (lambda record: record.update(counts={"train": "5", "test": 3}), "counts of train should be a whole number"),
        (lambda record: record.update(counts={"train": 5, "test": -3}), "counts of test should be a whole number"),
        (lambda record: record.update(counts={"train": True, "test": 3}), "counts of train should be a whole number"),
        (lambda record: record.update(hashes={"../train-00000.tar": "0" * 64}), "hashes should name tars"),
        (lambda record: record.update(hashes={"train-00000.tar": 5}), "hashes should name tars"),
        (lambda record: record.update(name=["birds"]), "'name' should be str, it is list"),
    ],
)
def test_a_damaged_task_json_is_refused(
    change: Callable[[dict[str, Any]], object], expected: str, tmp_path: Path
) -> None:
    folder = tmp_path / "birds"
    make(folder)
    change_json(folder, change)
    assert expected in broken_message(lambda: read_task(folder), folder / "task.json", "ingest")


def test_a_task_json_that_is_cut_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    cut(tmp_path / "birds" / "task.json")
    message = broken_message(lambda: read_task(tmp_path / "birds"), tmp_path / "birds" / "task.json", "ingest")
    assert "it should be JSON" in message


def test_a_missing_task_is_refused(tmp_path: Path) -> None:
    broken_message(lambda: read_task(tmp_path / "birds"), tmp_path / "birds" / "task.json", "ingest")


def test_a_missing_tar_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    tar = tmp_path / "birds" / "train-00001.tar"
    tar.unlink()
    assert "task.json names it" in broken_message(lambda: read_task(tmp_path / "birds"), tar, "ingest")


def test_a_task_is_described_without_its_tars(tmp_path: Path) -> None:
    written = make(tmp_path / "birds")
    (tmp_path / "birds" / "train-00001.tar").unlink()
    assert describe_own_task(tmp_path / "birds") == written
    (tmp_path / "birds").rename(tmp_path / "cars")
    with pytest.raises(ContractError, match="it should be of task 'cars', it is of 'birds'"):
        describe_own_task(tmp_path / "cars")


@pytest.mark.parametrize("positions", [[0], [4], [3, 0], [1, 2, 3, 4], []])
def test_images_are_found_by_their_position_in_the_split(positions: list[int], tmp_path: Path) -> None:
    info, folder = make(tmp_path / "birds"), tmp_path / "birds"
    found = images_at(folder, info, "train", positions)
    assert {at: (image.read(), image.label) for at, image in found.items()} == {
        at: (TRAIN[at][0], TRAIN[at][2]) for at in positions
    }


def test_a_position_that_the_split_does_not_have_is_refused(tmp_path: Path) -> None:
    info, folder = make(tmp_path / "birds"), tmp_path / "birds"
    message = broken_message(lambda: images_at(folder, info, "train", [4, 5]), folder / "task.json", "ingest")
    assert "there should be a train image 5, there is none" in message


def test_positions_in_a_damaged_tar_are_refused(tmp_path: Path) -> None:
    info, folder = make(tmp_path / "birds"), tmp_path / "birds"
    cut(folder / "train-00001.tar", 0.1)
    broken_message(lambda: images_at(folder, info, "train", [2]), folder / "train-00001.tar", "ingest")
    write_tar(folder / "train-00001.tar", [("two", {"png": TRAIN[2][0], "cls": b"0"})])
    message = broken_message(lambda: images_at(folder, info, "train", [2]), folder / "train-00001.tar", "ingest")
    assert "its first key should be the position of an image, it is 'two'" in message


def test_some_tars_are_indexed_alone(tmp_path: Path) -> None:
    info, folder = make(tmp_path / "birds"), tmp_path / "birds"
    found = index_tars(folder, info, ["train-00001.tar"])
    assert [(image.read(), image.label) for image in found] == [(TRAIN[at][0], TRAIN[at][2]) for at in (2, 3)]


def test_a_changed_tar_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    tar = tmp_path / "birds" / "train-00001.tar"
    cut(tar)
    message = broken_message(lambda: list(iterate_task(tmp_path / "birds", "train")), tar, "ingest")
    assert "its sha256 should be" in message


def test_a_wrong_count_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    change_json(tmp_path / "birds", lambda record: record["counts"].update(train=6))
    path = tmp_path / "birds" / "task.json"
    message = broken_message(lambda: list(iterate_task(tmp_path / "birds", "train")), path, "ingest")
    assert "there should be 6 train images, there are 5" in message


def note_hash(tar: Path) -> None:
    change_json(tar.parent, lambda record: record["hashes"].update({tar.name: sha256_of(tar)}))


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    tar = tmp_path / "birds" / "test-00000.tar"
    tar.write_bytes(b"no tar at all" * 100)
    note_hash(tar)
    message = broken_message(lambda: index_task(tmp_path / "birds", "test"), tar, "ingest")
    assert "it should be a whole tar of samples" in message


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"png": png(0), "cls": b"2"}, "sample 0 has label 2, task.json has 2 classes"),
        ({"png": png(0)}, "sample 0 should be one image and its label, it is png"),
        ({"cls": b"1"}, "sample 0 should be one image and its label, it is cls"),
        ({"png": png(0), "cls": b"-1"}, "sample 0 should be one image and its label"),
        ({"png": png(0), "jpg": png(1), "cls": b"0"}, "sample 0 should be one image and its label"),
    ],
)
def test_an_unsound_sample_is_refused(files: dict[str, bytes], expected: str, tmp_path: Path) -> None:
    make(tmp_path / "birds")
    tar = tmp_path / "birds" / "test-00000.tar"
    write_tar(tar, [("0", files)])
    note_hash(tar)
    assert expected in broken_message(lambda: list(iterate_task(tmp_path / "birds", "test")), tar, "ingest")


def test_a_stored_image_knows_its_tar_and_its_bytes(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    index = index_task(tmp_path / "birds", "train")
    assert [(image.read(), image.label) for image in index] == [(image, label) for image, _, label in TRAIN]
    assert [image.file.tar.name for image in index] == [f"train-0000{shard}.tar" for shard in (0, 0, 1, 1, 2)]


def test_stored_images_are_read_in_any_order_by_several_threads(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    index = index_task(tmp_path / "birds", "train")
    order = [4, 0, 3, 3, 1, 2, 4] * 10
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: index[number].read(), order))
    assert found == [TRAIN[number][0] for number in order]


def test_a_tar_that_is_cut_short_after_indexing_is_named(tmp_path: Path) -> None:
    make(tmp_path / "birds")
    image = index_task(tmp_path / "birds", "test")[1]
    with image.file.tar.open("r+b") as file:
        file.truncate(image.file.offset + 3)
    assert "there are 3" in broken_message(image.read, image.file.tar, "ingest")
