"""The benchmark of all stages, at a size that takes seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.bench import line, measured, record
from benchmarks.beside import inputs
from benchmarks.beside.works import STAGES


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.chdir(project)  # the miniature models are in data/
    size = replace(inputs.SIZES["mini"], photos=40, images=40, batch=4, generated=2, steps=1, rounds=1)
    monkeypatch.setitem(inputs.SIZES, "mini", size)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_measured_in_three_ways_and_recorded_once(stage: str, small: None, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        row = measured(stage, "mini", torch.device("cpu"))
    finally:
        torch.set_num_threads(threads)
    assert all(seconds > 0 for seconds in row["seconds"].values())
    middle, low, high = row["faster"]
    assert low <= middle <= high
    for _ in range(2):
        record(tmp_path, row)
    assert len(json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))) == 1
    assert line(row) in (tmp_path / "bench.md").read_text(encoding="utf-8")
