"""The GPU benchmark's own code: what it says without a GPU, and its whole run on a CPU at toy size."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.gpu.record import figure


def throughput(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.throughput", *options]
    return subprocess.run(command, cwd=project, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported_and_is_no_error(project: Path, tmp_path: Path) -> None:
    done = throughput(project, "--record", str(tmp_path))
    assert done.returncode == 0 and done.stdout.startswith("No GPU is available")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.end_to_end
def test_generation_and_training_are_measured_on_the_device_named(project: Path, tmp_path: Path) -> None:
    folders = ["--models", str(tmp_path / "models"), "--record", str(tmp_path)]
    done = throughput(project, "--device", "cpu", "--size", "cut", *folders)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "throughput.csv")
    assert table.what.tolist() == ["images generated"] * 2 + ["iterations of finetune", "iterations of gift"] * 2
    assert table.batch.tolist() == [1, 2, 4, 4, 4, 4]
    # at this size a rate is noise, negative on a busy machine
    assert table.per_second.notna().all() and table.peak_gib.isna().all()
    assert "the numbers mean nothing" in (tmp_path / "throughput.md").read_text(encoding="utf-8")


def test_what_did_not_fit_has_no_figure() -> None:
    assert figure(None) == figure(math.nan) == ""
    assert figure(2.345) == "2.35"
