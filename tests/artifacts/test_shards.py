"""Synthetic pairs in img2dataset's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.prompt_files import prompts_digest
from gift_core.artifacts.shards import (
    Pair,
    Shard,
    finished_pairs,
    iterate_pairs,
    missing_tars,
    pair_key,
    read_manifest,
    write_manifest,
    write_shard,
)
from gift_core.artifacts.tars import write_tar
from tests.artifacts.damage import broken_message, change_json, cut, flip, png

PAIRS = [
    [Pair(pair_key(0, 0), 0, "a photo of a snowman.", png(0)), Pair(pair_key(0, 1), 1, "a größe.", png(1))],
    [Pair(pair_key(1, 0), 2, "a photo of a spade.", png(2))],
]
PROMPTS = pd.DataFrame({
    "prompt_id": range(3), "source_task": "base", "class_name": "thing", "template": "a {}.",
    "prompt": [pair.prompt for shard in PAIRS for pair in shard], "seed": range(3),
})  # fmt: skip
GENERATOR = {"pipeline": "data/mini/diffusion", "steps": 10}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "birds"
    write_shard(folder, 0, PAIRS[0], {"redrawn": 2})
    write_shard(folder, 1, PAIRS[1], {"redrawn": 1})
    write_manifest(folder, GENERATOR, prompts_digest(PROMPTS))
    return folder


def test_the_pairs_come_back_in_their_order_and_are_read_again_from_their_tars(folder: Path) -> None:
    pairs = list(iterate_pairs(folder))
    assert pairs == [*PAIRS[0], *PAIRS[1]]
    assert [pair.read_again and pair.read_again() for pair in pairs] == [png(0), png(1), png(2)]


def test_the_files_are_those_of_img2dataset(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "00000.parquet", "00000.tar", "00000_stats.json", "00001.parquet", "00001.tar", "00001_stats.json",
        "manifest.json",
    ]  # fmt: skip
    assert pq.read_table(folder / "00000.parquet").to_pydict() == {
        "key": ["000000000", "000000001"],
        "prompt_id": [0, 1],
        "caption": ["a photo of a snowman.", "a größe."],
        "status": ["success", "success"],
    }
    hashes = {name: sha256_of(folder / name) for name in ("00000.tar", "00000.parquet")}
    stats = {"count": 2, "successes": 2, "status_dict": {"success": 2}, "redrawn": 2, "sha256": hashes}
    assert json.loads((folder / "00000_stats.json").read_text()) == stats
    manifest = read_manifest(folder)
    assert (manifest.images, manifest.redrawn, manifest.generator) == (3, 3, GENERATOR)
    sidecars = {name: sha256_of(folder / name) for name in ("00000.parquet", "00000_stats.json")}
    assert manifest.shards[0] == Shard(name="00000.tar", sha256=hashes["00000.tar"], sidecars=sidecars)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder / "00000.tar"),
        lambda folder: write_tar(folder / "00000.tar", []),
        lambda folder: write_shard(folder, 0, PAIRS[0][:1], {}),  # whole, but of fewer pairs
        lambda folder: write_shard(folder, 0, [replace(PAIRS[0][0], prompt="another"), PAIRS[0][1]], {}),
    ],
)
def test_a_shard_is_finished_unless_it_is_damaged_or_another(damage: Callable[[Path], object], tmp_path: Path) -> None:
    expected = [(pair.prompt_id, pair.prompt) for pair in PAIRS[0]]
    write_shard(tmp_path, 0, PAIRS[0], {})
    assert finished_pairs(tmp_path, 0, expected) == PAIRS[0]
    damage(tmp_path)
    assert finished_pairs(tmp_path, 0, expected) is None


def test_shards_are_described_without_their_tars(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert missing_tars(folder, manifest) == []
    (folder / "00001.tar").unlink()
    assert read_manifest(folder) == manifest
    assert missing_tars(folder, manifest) == [folder / "00001.tar"]
    message = broken_message(lambda: list(iterate_pairs(folder)), folder / "00001.tar", "synthesize")
    assert "the file is missing" in message


@pytest.mark.parametrize("name", ["00001.tar", "00000.parquet", "00001_stats.json"])
def test_a_changed_file_is_refused(name: str, folder: Path) -> None:
    flip(folder / name, 20)
    message = broken_message(lambda: list(iterate_pairs(folder)), folder / name, "synthesize")
    assert "its sha256 should be" in message


def test_a_sample_without_a_prompt_and_a_name_that_leads_out_of_the_folder_are_refused(folder: Path) -> None:
    tar, manifest = folder / "00001.tar", folder / "manifest.json"
    write_tar(tar, [("000010000", {"png": png(2)})])
    change_json(manifest, lambda record: record["shards"][1].update(sha256=sha256_of(tar)))
    assert "a txt and a json with a prompt_id" in broken_message(lambda: list(iterate_pairs(folder)), tar, "synthesize")
    change_json(manifest, lambda record: record["shards"][0].update(name="../0.tar"))
    message = broken_message(lambda: read_manifest(folder), manifest, "synthesize")
    assert "shards.0.name: String should match pattern" in message
