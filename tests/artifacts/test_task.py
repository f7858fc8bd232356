"""Tars of samples and an ingested task: byte-stable, readable by WebDataset, indexed, and never read when damaged."""

from __future__ import annotations

import gzip
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import webdataset

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.tars import index_tar, stored_samples, write_tar
from gift_core.artifacts.task import TaskInfo, images_at, index_task, iterate_task, read_task, write_task
from tests.artifacts.damage import broken_message, change_json, cut, png, tree_hash

SAMPLES = [("000", {"txt": b"a snowman", "png": b"pixels"}), ("001", {"png": b"more", "txt": b"a spade"})]


def test_what_is_written_is_read_also_by_webdataset(tmp_path: Path) -> None:
    path = tmp_path / "größe {1..3}" / "a.tar"
    write_tar(path, SAMPLES)
    found = stored_samples(path, "ingest")
    assert [(key, {extension: file.read() for extension, file in files.items()}) for key, files in found] == SAMPLES
    samples = webdataset.WebDataset(path.rename(tmp_path / "a.tar").as_posix(), shardshuffle=False)
    assert list(samples.to_tuple("__key__", "txt")) == [("000", b"a snowman"), ("001", b"a spade")]


def test_the_images_of_a_shard_are_not_in_memory_together(tmp_path: Path) -> None:
    images = ((png(0) + bytes(10**5), "png", 0) for _ in range(200))
    info = TaskInfo("shapes", ("circle",), ("a {}.",), "folder")
    tracemalloc.start()
    try:
        written = write_task(tmp_path / "shapes", info, images, [(png(0), "png", 0)], images_per_shard=200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert written.counts == {"train": 200, "test": 1} and peak < 5 * 10**6  # the shard has 20 MB


def test_the_same_samples_give_the_same_bytes_without_time_and_owner(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", SAMPLES)
    write_tar(tmp_path / "b.tar", [(key, dict(sorted(files.items()))) for key, files in SAMPLES])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["000.png", "000.txt", "001.png", "001.txt"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_hidden_files_folders_and_reserved_names_are_skipped(tmp_path: Path) -> None:
    names = ["._a.jpg", "__meta__.json", "sub/", "sub/a.b.JPG", "sub/a.cls", "sub/.b.jpg", "readme", "c.cls"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            tar.addfile(member)
    found = [(key, list(files)) for key, files in index_tar(tmp_path / "a.tar")]
    assert found == [("sub/a", ["b.jpg", "cls"]), ("c", ["cls"])]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: cut(path, 0.3),
        lambda path: path.write_bytes(path.read_bytes()[: 3 * 3584]),  # between two files
        lambda path: path.write_bytes(2 * path.read_bytes()),  # joined
        lambda path: path.write_bytes(gzip.compress(bytes(2**24))),
        Path.unlink,
    ],
)
def test_a_cut_joined_compressed_or_missing_tar_is_refused(damage: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, [(f"{number:03d}", {"png": bytes(3000)}) for number in range(5)])
    damage(path)
    broken_message(lambda: list(stored_samples(path, "synthesize")), path, "synthesize")


@pytest.mark.parametrize("names", [["1.png", "1.cls", "1.CLS"], ["1.png", "1.cls", "2.png", "1.png"]])
def test_files_of_a_sample_that_are_not_side_by_side_are_refused(names: list[str], tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(tarfile.ReadError, match="sample 1 (has two files .cls|occurs twice)"):
        list(index_tar(tmp_path / "a.tar"))


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
    change_json(folder / "task.json", lambda record: record.update(hashes={"../train-00000.tar": "0" * 64}))
    broken_message(lambda: read_task(folder), folder / "task.json", "ingest")  # a name that leads out of the folder


def test_a_task_of_pairs_keeps_captions_and_one_of_classes_has_no_field_for_them(folder: Path, tmp_path: Path) -> None:
    pairs = [(png(index), "png", (f"picture {index}", "one of all")) for index in range(4)]
    info = TaskInfo("pets", ("one of all", "picture 3"), ("{}",), "pairs")
    written = write_task(tmp_path / "pets", info, pairs, pairs[:2], images_per_shard=3)
    assert (written.kind, written.captions) == ("pairs", {"train": 8, "test": 4})
    assert read_task(tmp_path / "pets") == written and "captions" not in json.loads((folder / "task.json").read_text())
    images = index_task(tmp_path / "pets", "train")
    assert [image.captions for image in images] == [captions for _, _, captions in pairs]
    assert [image.label for image in images] == [0, 0, 0, 1]  # of the first caption that stands for the task
