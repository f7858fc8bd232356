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


def start(folder: Path, offer: Mapping[str, str]) -> subprocess.Popen[str]:
    """A stage with two helpers, which waits in its first shard until the test releases it; alone without an offer."""
    if offer:
        offer = {**offer, OFFER: json.dumps(json.loads(offer[OFFER]) | {"count": 2})}
        (folder / "hold-stage").touch()
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


def test_bytes_do_not_depend_on_helpers_one_of_which_is_killed_in_a_shard(
    tmp_path: Path, offer: Mapping[str, str]
) -> None:
    alone, helped = tmp_path / "alone", tmp_path / "helped"
    for folder in (alone, helped):
        (folder / "helpers").mkdir(parents=True)
    ended(start(alone, {}))
    (helped / "hold-helpers").touch()
    run = start(helped, offer)
    wait(lambda: len(list((helped / "helpers").iterdir())) == 2, "two helpers in a shard")
    psutil.Process(int(next((helped / "helpers").iterdir()).name)).kill()
    assert finished(helped) == 0 and not (helped / "shards").exists()
    (helped / "hold-helpers").unlink()
    wait(lambda: finished(helped) == SHARDS - 1, "the shards of the helpers")
    (helped / "hold-stage").unlink()
    assert "a helper was lost" in ended(run)
    assert files(helped) == files(alone)
    assert not (helped / "work").exists()
