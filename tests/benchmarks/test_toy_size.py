"""The benchmarks of stages, of torch.compile, of overlap and of growth run at toy size."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import growth, growth_parts, overlap
from benchmarks.bench import line, measured, record
from benchmarks.beside import inputs
from benchmarks.beside.works import STAGES
from gift_core.work.overlap import Copies

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def root(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)  # the miniature models are in data/
    monkeypatch.syspath_prepend(str(project / "benchmarks"))
    for name in ("GIFT_QUIET", "DVC_NO_ANALYTICS", "PYTHONPATH"):  # growth sets them; they are put back
        monkeypatch.setenv(name, "1")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_measured_in_three_ways(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = replace(inputs.SIZES["mini"], photos=40, images=40, batch=4, generated=2, steps=1, rounds=1)
    monkeypatch.setitem(inputs.SIZES, "mini", size)
    threads = torch.get_num_threads()
    try:
        row = measured(stage, "mini", CPU)
    finally:
        torch.set_num_threads(threads)
    middle, low, high = row["faster"]
    assert low <= middle <= high and all(seconds > 0 for seconds in row["seconds"].values())
    record(tmp_path, row)
    assert line(row) in (tmp_path / "bench.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", ["unet-mini", "images-mini", "texts-mini", "images", "texts"])
def test_compiling_compares_results_of_the_same_work(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for a compiled function returns 1.5 times the output."""

    def compile(function: Callable[[torch.Tensor], torch.Tensor], dynamic: bool) -> Callable[..., torch.Tensor]:
        return lambda rows: 1.5 * function(rows)

    compiling = importlib.import_module("compiling")
    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(compiling, "ROUNDS", 1)
    choices = argparse.Namespace(depth=1, batch=2, precision="fp32", device="cpu")
    assert compiling.measured(compiling.CASES[case](choices), CPU)["difference"] == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("name", overlap.STAGES)
def test_a_pretended_device_computes_what_the_stage_needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Copies(CPU)
    for module in (overlap.overlap, overlap.synthesizing):
        monkeypatch.setattr(module, "Copies", lambda device: nothing)
    constants = {"BATCHES": 2, "SHARD": 16, "ITERATIONS": 2, "GENERATE": 0.02, "COMPUTE": 0.02}
    for constant, value in (constants | dict.fromkeys(("ENCODE", "WRITE", "QUEUE", "DECODE"), 0.0)).items():
        monkeypatch.setattr(overlap, constant, value)
    device = overlap.Device()
    overlap.STAGES[name](device, torch.device("cuda"))
    assert device.busy >= 2 * 0.02  # two batches or iterations, and a sleep is never shorter


def test_growth_writes_part_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth_parts, "in_own_process", lambda part, size: growth_parts.MEASURED_HERE[part](size))
    options = ["--only", "classes", "--classes", "2", "3", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["growth", *options, "--figure", str(tmp_path / "g.png")])
    growth.main()
    (part,) = json.loads((tmp_path / "growth.json").read_text(encoding="utf-8")).values()
    assert [each["classes"] for each in part["rows"]] == [2, 3] and (tmp_path / "g.png").is_file()
