"""The GPU benchmark on a CPU at toy size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.end_to_end
def test_generation_and_training_are_measured_on_the_device_named(project: Path, tmp_path: Path) -> None:
    folders = ["--models", str(tmp_path / "models"), "--record", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.throughput", "--device", "cpu", "--size", "cut", *folders]
    done = subprocess.run(command, cwd=project, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "throughput.csv")
    assert table.what.tolist() == ["images generated"] * 2 + ["iterations of finetune", "iterations of gift"] * 2
    assert table.batch.tolist() == [1, 2, 4, 4, 4, 4]
    # at this size a rate is noise, negative on a busy machine
    assert table.per_second.notna().all() and table.peak_gib.isna().all()
    assert "the numbers mean nothing" in (tmp_path / "throughput.md").read_text(encoding="utf-8")
