"""Blocks of images that helpers encode: the stage teach writes the same bytes with and without them."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts import snapshot as snapshots
from gift_core.artifacts.snapshot import Snapshot
from gift_core.clip.model import Clip
from gift_core.replay import image_blocks
from gift_core.replay.teach import teach
from gift_core.replay.teachers import Teacher
from tests.artifacts.damage import tree_hash
from tests.clip.tiny import tiny_clip
from tests.execution.pretended_helper import every_other_unit
from tests.replay.test_teach import STEPS, SYNTHETIC, Steps, method
from tests.tiny_world import make_world, moved

LAST = STEPS[-1]
ROW = method({**SYNTHETIC, "keep_earlier": 2})
BATCH = 2


def load_clip(seed: int) -> Clip:
    return moved(tiny_clip(), seed=seed)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    folder = tmp_path_factory.mktemp("world")
    teachers = {task: Teacher(load_clip(seed), f"model {seed}") for seed, task in enumerate(STEPS)}
    return Steps(make_world(folder), folder, ROW, teachers)


def taught(steps: Steps, folder: Path, **changes: Any) -> dict[str, str]:
    """The hashes of what the stage writes for the last step, whose images are in batches of two."""
    source = dataclasses.replace(steps.source(LAST), teacher=folder, encode_batch_size=BATCH, **changes)
    teach(steps.teachers[LAST], ROW, source)
    return {Path(name).name: digest for name, digest in tree_hash(folder).items()}


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """The blocks of two batches each. A helper encodes every other one."""
    found: list[range] = []

    def noted(units: list[range], load: Any, **options: Any) -> AbstractContextManager[Any]:
        found.extend(units)
        return every_other_unit(units, load, **options)

    monkeypatch.setattr(image_blocks, "BATCHES", 2)
    monkeypatch.setattr(image_blocks, "offered", object)
    monkeypatch.setattr(image_blocks, "spread", noted)
    return found


def test_with_helpers_the_stage_writes_the_same_bytes(steps: Steps, tmp_path: Path, blocks: list[range]) -> None:
    alone = taught(steps, tmp_path / "alone")
    assert blocks == []
    assert taught(steps, tmp_path / "helped", load_clip=partial(load_clip, len(STEPS) - 1)) == alone
    assert blocks == [range(start, min(start + 2 * BATCH, 21)) for start in range(0, 21, 2 * BATCH)]


def test_an_interrupted_run_continues_after_its_first_blocks(
    steps: Steps, tmp_path: Path, blocks: list[range], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))
    helped = {"load_clip": partial(load_clip, len(STEPS) - 1), "snapshot": partial(snapshot_in, tmp_path)}
    alone = taught(steps, tmp_path / "alone")
    encode = image_blocks.encode_block

    def stopped(clip: Clip, pairs_from: Any, block: range, *, batch_size: int) -> image_blocks.Encoded:
        if block.start == 12:
            raise KeyboardInterrupt
        return encode(clip, pairs_from, block, batch_size=batch_size)

    with monkeypatch.context() as patch:
        patch.setattr(image_blocks, "encode_block", stopped)
        patch.setattr(image_blocks, "_load", load_unstopped)
        with pytest.raises(KeyboardInterrupt):
            taught(steps, tmp_path / "cut", **helped)
    blocks.clear()
    assert taught(steps, tmp_path / "cut", **helped) == alone
    assert blocks == [range(8, 12), range(12, 16), range(16, 20), range(20, 21)]


encode_block = image_blocks.encode_block


def load_unstopped(load: Any, pairs_from: Any, batch_size: int) -> Any:
    """A helper that nobody stops."""
    return partial(encode_block, load(), pairs_from, batch_size=batch_size)


def snapshot_in(folder: Path, part: str) -> Snapshot:
    return Snapshot(folder / f"{part}.safetensors")
