"""Images read from where they lie in the tars are those of reading the tars, with the same checks."""

from __future__ import annotations

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gift_core.artifacts.atomic import sha256_of
from gift_core.artifacts.tars import write_tar
from gift_core.artifacts.task import TaskInfo, index_task, iterate_task, write_task
from gift_core.errors import ContractError
from tests.clip.tiny import png

INFO = TaskInfo(name="pets", class_names=("cat", "dog", "owl"), templates=("a photo of a {}.",), source="test")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Seven training images in three tars, of several sizes, and two test images."""
    train = [(png(seed, width=10 + seed), ("png", "jpg")[seed % 2], seed % 3) for seed in range(7)]
    write_task(tmp_path / "pets", INFO, train, train[:2], images_per_shard=3)
    return tmp_path / "pets"


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_and_labels_are_those_of_reading_the_tars(task: Path, split: str) -> None:
    index = index_task(task, split)
    assert [(image.read(), image.label) for image in index] == list(iterate_task(task, split))
    assert len({image.file.tar for image in index}) == (3 if split == "train" else 1)


def test_images_are_read_in_any_order_by_several_threads(task: Path) -> None:
    index = index_task(task, "train")
    expected = [image for image, _ in iterate_task(task, "train")]
    order = [6, 0, 3, 3, 5, 1, 2, 4] * 10
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: index[number].read(), order))
    assert found == [expected[number] for number in order]


def changed_tar(task: Path) -> None:
    tar = task / "train-00001.tar"
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")


def missing_tar(task: Path) -> None:
    (task / "train-00002.tar").unlink()


def no_label(task: Path) -> None:
    _rewrite(task, [("00000000", {"png": png(0)})])


def two_images(task: Path) -> None:
    _rewrite(task, [("00000000", {"png": png(0), "jpg": png(1), "cls": b"0"})])


def unknown_class(task: Path) -> None:
    _rewrite(task, [("00000000", {"png": png(0), "cls": b"3"})])


def too_few(task: Path) -> None:
    _rewrite(task, [("00000000", {"png": png(0), "cls": b"0"})])


def no_tar(task: Path) -> None:
    (task / "train-00000.tar").write_bytes(b"no tar at all" * 100)
    _note_hash(task)


def _rewrite(task: Path, samples: list[tuple[str, dict[str, bytes]]]) -> None:
    write_tar(task / "train-00000.tar", samples)
    _note_hash(task)


def _note_hash(task: Path) -> None:
    record = json.loads((task / "task.json").read_text())
    record["hashes"]["train-00000.tar"] = sha256_of(task / "train-00000.tar")
    (task / "task.json").write_text(json.dumps(record))


@pytest.mark.parametrize("damage", [changed_tar, missing_tar, no_label, two_images, unknown_class, too_few, no_tar])
def test_what_reading_the_tars_refuses_is_refused(task: Path, damage: object) -> None:
    damage(task)  # type: ignore[operator]
    with pytest.raises(ContractError) as reading:
        list(iterate_task(task, "train"))
    with pytest.raises(ContractError) as indexing:
        index_task(task, "train")
    for error in (reading, indexing):
        assert "dvc repro ingest" in str(error.value)
    assert str(indexing.value)[:60] == str(reading.value)[:60]


def test_a_tar_that_is_cut_short_later_is_named(task: Path) -> None:
    image = index_task(task, "test")[1]
    with image.file.tar.open("r+b") as file:
        file.truncate(image.file.offset + 3)
    with pytest.raises(ContractError, match=r"test-00000\.tar.*there are 3"):
        image.read()


def test_an_index_outlives_nothing_but_its_tars(task: Path, tmp_path: Path) -> None:
    index = index_task(task, "train")
    assert all(dataclasses.is_dataclass(image) for image in index)
    shutil.rmtree(task)
    with pytest.raises(FileNotFoundError):
        index[0].read()
