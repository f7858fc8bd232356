"""Shards that helpers generate, with real Ray: the bytes are those of one process, whatever happens to a helper."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from gift_core.work.spread import OFFER
from tests.artifacts.damage import tree_hash
from tests.execution.ray_for_tests import ray_offer
from tests.stages.toy_pipeline import ended, wait

pytestmark = pytest.mark.end_to_end
SHARDS = 6


@pytest.fixture(scope="module")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with ray_offer(tmp_path_factory.mktemp("project") / "waiting") as variables:
        yield variables


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hash of each file of a run without helpers."""
    folder = tmp_path_factory.mktemp("alone")
    ended(start(folder, {}))
    return files(folder)


def start(folder: Path, offer: Mapping[str, str], helpers: int = 1) -> subprocess.Popen[str]:
    (folder / "helpers").mkdir()
    if offer:
        offer = {**offer, OFFER: json.dumps(json.loads(offer[OFFER]) | {"count": helpers})}
        (folder / "hold-stage").touch()  # in its first shard, until the test releases it
    return subprocess.Popen(
        [sys.executable, "-m", "tests.generators.painted_shards", str(folder), str(SHARDS)],
        env=os.environ | dict(offer),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def files(folder: Path) -> dict[str, str]:
    return {Path(name).name: digest for name, digest in tree_hash(folder / "shards").items()}


def finished(folder: Path) -> int:
    return len(list((folder / "work").glob("*/[0-9]*_stats.json")))


def test_the_bytes_do_not_depend_on_the_number_of_workers(
    tmp_path: Path, offer: Mapping[str, str], alone: dict[str, str]
) -> None:
    run = start(tmp_path, offer, helpers=2)
    wait(lambda: finished(tmp_path) == SHARDS - 1, "the shards of the helpers")
    (tmp_path / "hold-stage").unlink()
    ended(run)
    assert files(tmp_path) == alone
    assert not (tmp_path / "work").exists()


def test_a_helper_that_is_killed_in_a_shard_changes_no_byte_and_leaves_nothing_half_written(
    tmp_path: Path, offer: Mapping[str, str], alone: dict[str, str]
) -> None:
    (tmp_path / "hold-helpers").touch()
    run = start(tmp_path, offer)
    wait(lambda: list((tmp_path / "helpers").iterdir()), "a helper in a shard")
    psutil.Process(int(next((tmp_path / "helpers").iterdir()).name)).kill()
    assert finished(tmp_path) == 0 and not (tmp_path / "shards").exists()
    for name in ("hold-helpers", "hold-stage"):
        (tmp_path / name).unlink()
    assert "a helper was lost" in ended(run)
    assert files(tmp_path) == alone
    assert not (tmp_path / "work").exists()
