"""What teach asks for before it encodes is enough for what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gift_core.replay.teach import REPLAYS
from gift_core.replay.teacher_space import ROWS, teacher_bytes
from stages.teach import teach
from tests.tiny_world import TinyExperiment, load, make_world

METHODS = ("gift", "ewc", "zscl", "lwf", "lwf_vr", "icarl")


def test_every_kind_of_replay_is_counted() -> None:
    assert set(ROWS) == set(REPLAYS)


@pytest.mark.parametrize("method", METHODS)
def test_what_teach_writes_fits_into_what_it_asks_for(method: str, tmp_path: Path, mini_params: dict[str, Any]) -> None:
    layout = make_world(tmp_path)
    row: Mapping[str, Any] = mini_params["methods"][method]
    experiment = TinyExperiment(layout, mini_params, method, dict(row), iterations=20)
    for task in ("birds", "digits"):
        teach(method, task, params=experiment.params, root=tmp_path)
        source = experiment.source(task)
        needed = teacher_bytes(load(layout.pretrained()), experiment.row.replay, source)
        written = sum(-(-file.stat().st_size // 4096) * 4096 for file in source.teacher.rglob("*") if file.is_file())
        assert 0 < written <= needed
