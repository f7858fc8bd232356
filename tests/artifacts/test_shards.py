"""Synthetic pairs in img2dataset's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gift_core.artifacts.atomic import sha256_of
from gift_core.artifacts.shards import (
    Pair,
    first_pairs,
    iterate_pairs,
    pair_key,
    read_manifest,
    read_shard,
    read_shard_stats,
    write_manifest,
    write_shard,
)
from gift_core.artifacts.tars import write_tar
from tests.artifacts.damage import broken_message, cut, png, tree_hash

PAIRS = [
    [Pair(pair_key(0, 0), 0, "a photo of a snowman.", png(0)), Pair(pair_key(0, 1), 1, "a größe.", png(1))],
    [Pair(pair_key(1, 0), 2, "a photo of a spade.", png(2))],
]
GENERATOR = {"pipeline": "data/mini/diffusion", "steps": 10}


def make(folder: Path) -> dict[str, Any]:
    write_shard(folder, 0, PAIRS[0], {"redrawn": 2})
    write_shard(folder, 1, PAIRS[1], {"redrawn": 1})
    return write_manifest(folder, GENERATOR)


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / "manifest.json").read_text())
    change(record)
    (folder / "manifest.json").write_text(json.dumps(record))


def test_the_pairs_come_back_in_their_order(tmp_path: Path) -> None:
    make(tmp_path)
    assert list(iterate_pairs(tmp_path)) == [*PAIRS[0], *PAIRS[1]]


def test_the_files_are_those_of_img2dataset(tmp_path: Path) -> None:
    make(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000.parquet", "00000.tar", "00000_stats.json", "00001.parquet", "00001.tar", "00001_stats.json",
        "manifest.json",
    ]  # fmt: skip
    assert pq.read_table(tmp_path / "00000.parquet").to_pydict() == {
        "key": ["000000000", "000000001"],
        "prompt_id": [0, 1],
        "caption": ["a photo of a snowman.", "a größe."],
        "status": ["success", "success"],
    }
    stats = {"count": 2, "successes": 2, "status_dict": {"success": 2}, "redrawn": 2}
    assert read_shard_stats(tmp_path, 0) == stats


def test_the_manifest_sums_the_shards(tmp_path: Path) -> None:
    manifest = make(tmp_path)
    assert manifest["images"] == 3
    assert manifest["redrawn"] == 3
    assert manifest["generator"] == GENERATOR
    assert manifest["shards"] == [
        {"name": "00000.tar", "sha256": sha256_of(tmp_path / "00000.tar")},
        {"name": "00001.tar", "sha256": sha256_of(tmp_path / "00001.tar")},
    ]
    assert read_manifest(tmp_path) == manifest


def test_the_manifest_sums_what_filters_rejected_by_its_reason(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, PAIRS[0], {"redrawn": 0, "rejected": {"duplicate": 2, "clip_score": 1}})
    write_shard(tmp_path, 1, PAIRS[1], {"redrawn": 0, "rejected": {"duplicate": 3, "clip_score": 0}})
    write_manifest(tmp_path, GENERATOR)
    assert read_manifest(tmp_path)["rejected"] == {"clip_score": 1, "duplicate": 5}


def test_without_filters_the_manifest_names_none(tmp_path: Path) -> None:
    assert "rejected" not in make(tmp_path)


def test_a_finished_shard_is_read_before_there_is_a_manifest(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, PAIRS[0], {"redrawn": 1})
    assert list(read_shard(tmp_path, 0)) == PAIRS[0]
    write_tar(tmp_path / "00000.tar", [(PAIRS[0][0].key, {"png": png(0), "txt": b"a", "json": b'{"prompt_id": 0}'})])
    message = broken_message(lambda: list(read_shard(tmp_path, 0)), tmp_path / "00000.tar", "synthesize")
    assert "there should be 2 pairs, there are 1" in message


def test_an_unfinished_shard_has_no_stats(tmp_path: Path) -> None:
    assert read_shard_stats(tmp_path, 0) is None


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "a" / "birds")
    make(tmp_path / "b" / "birds")
    assert tree_hash(tmp_path / "a" / "birds") == tree_hash(tmp_path / "b" / "birds")


def test_first_pairs_stops_at_the_count_and_at_the_shard(tmp_path: Path) -> None:
    make(tmp_path)
    assert first_pairs(tmp_path, 1) == PAIRS[0][:1]
    assert first_pairs(tmp_path, 2) == PAIRS[0]
    assert first_pairs(tmp_path, 9) == PAIRS[0]


def test_first_pairs_of_a_truncated_tar_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "00000.tar").write_bytes((tmp_path / "00000.tar").read_bytes()[:600])
    broken_message(lambda: first_pairs(tmp_path, 2), tmp_path / "00000.tar", "synthesize")


def test_without_the_manifest_the_pairs_are_not_complete(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "manifest.json").unlink()
    broken_message(lambda: list(iterate_pairs(tmp_path)), tmp_path / "manifest.json", "synthesize")


def test_a_truncated_tar_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    cut(tmp_path / "00001.tar")
    message = broken_message(lambda: list(iterate_pairs(tmp_path)), tmp_path / "00001.tar", "synthesize")
    assert "its sha256 should be" in message


def test_a_missing_tar_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "00001.tar").unlink()
    message = broken_message(lambda: read_manifest(tmp_path), tmp_path / "00001.tar", "synthesize")
    assert "manifest.json names it" in message


def test_a_wrong_count_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    change_manifest(tmp_path, lambda record: record.update(images=4))
    message = broken_message(lambda: list(iterate_pairs(tmp_path)), tmp_path / "manifest.json", "synthesize")
    assert "there should be 4 pairs, there are 3" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda record: record.pop("images"), "there should be a field 'images'"),
        (lambda record: record.update(redrawn="3"), "'redrawn' should be int, it is str"),
        (lambda record: record.update(shards=["00000.tar"]), "it should be an object with name, sha256"),
        (lambda record: record.update(rejected=3), "'rejected' should be a number for each reason, it is 3"),
        (lambda record: record.update(rejected={"duplicate": "3"}), "'rejected' should be a number for each reason"),
    ],
)
def test_a_damaged_manifest_is_refused(
    change: Callable[[dict[str, Any]], object], expected: str, tmp_path: Path
) -> None:
    make(tmp_path)
    change_manifest(tmp_path, change)
    message = broken_message(lambda: read_manifest(tmp_path), tmp_path / "manifest.json", "synthesize")
    assert expected in message


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"txt": b"a", "json": b'{"prompt_id": 0}'}, "should be an image, a txt and a json, it is json, txt"),
        ({"png": png(0), "txt": b"a", "json": b"{}"}, "should have a json with a prompt_id"),
        ({"png": png(0), "txt": b"a", "json": b"no"}, "should have a json with a prompt_id"),
    ],
)
def test_an_incomplete_pair_is_refused(files: dict[str, bytes], expected: str, tmp_path: Path) -> None:
    make(tmp_path)
    tar = tmp_path / "00001.tar"
    write_tar(tar, [("000010000", files)])
    change_manifest(tmp_path, lambda record: record["shards"][1].update(sha256=sha256_of(tar)))
    assert expected in broken_message(lambda: list(iterate_pairs(tmp_path)), tar, "synthesize")
