"""The benchmarks of all stages, of torch.compile (a stand-in compiles nothing) and of overlap (on a fake device)."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import overlap
from benchmarks.bench import line, measured, record
from benchmarks.beside import inputs
from benchmarks.beside.works import STAGES
from gift_core.work.overlap import Copies


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


CPU = torch.device("cpu")


@pytest.fixture
def compiling(project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(project / "benchmarks"))
    monkeypatch.chdir(project)  # the miniature models are in data/
    return importlib.import_module("compiling")


@pytest.mark.parametrize("case", ["unet-mini", "images-mini", "texts-mini", "images", "texts"])
def test_a_case_compares_results_of_the_same_work(case: str, compiling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for a compiled function returns 1.5 times the output."""

    def compile(function: Callable[[torch.Tensor], torch.Tensor], dynamic: bool) -> Callable[..., torch.Tensor]:
        return lambda rows: 1.5 * function(rows)

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(compiling, "ROUNDS", 1)
    choices = argparse.Namespace(depth=1, batch=2, precision="fp32", device="cpu")
    row = compiling.measured(compiling.CASES[case](choices), CPU)
    assert row["difference"] == pytest.approx(0.5, rel=1e-5)
    assert row["seconds"] > 0 and row["first"] > 0
    assert ("channels_last" in row) == (case == "unet-mini")


def test_the_table_says_after_how_many_calls_compiling_pays(compiling: Any) -> None:
    row = {"case": "texts", "cold": 60.0, "warm": 5.0, "seconds": 0.1, "ratio": 0.75, "difference": 4e-7}
    assert compiling.line(row) == "| texts | 60 | 5 | 0.100 | 0.75 | 2400 (200) | 4e-07 |  |"
    assert "| 1.10 | never | 4e-07 | 0.90 |" in compiling.line({**row, "ratio": 1.1, "channels_last": 0.9})


@pytest.mark.parametrize("name", overlap.STAGES)
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_device_computes_what_the_stage_needs(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Copies(torch.device("cpu"))
    monkeypatch.setattr(overlap.overlap, "Copies", lambda device: nothing)
    monkeypatch.setattr(overlap.synthesizing, "Copies", lambda device: nothing)
    for constant, value in {"BATCHES": 2, "SHARD": 16, "GENERATE": 0.02, "ENCODE": 0.0, "WRITE": 0.0}.items():
        monkeypatch.setattr(overlap, constant, value)
    for constant, value in {"ITERATIONS": 2, "COMPUTE": 0.02, "QUEUE": 0.0, "DECODE": 0.0}.items():
        monkeypatch.setattr(overlap, constant, value)
    device = overlap.Device()
    overlap.STAGES[name](device, torch.device(kind))
    assert device.busy >= 2 * 0.02  # two batches or iterations, and a sleep is never shorter
