"""The full-size smoke, cut in depth and width."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.smoke.experiment import TASKS


def smoke(project: Path, folder: Path, *options: str) -> tuple[str, pd.DataFrame]:
    """Runs the benchmark with `folder` to work in; returns its output and the table it recorded."""
    command = [sys.executable, "-m", "benchmarks.smoke_full", "--folder", str(folder), "--record", str(folder)]
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run([*command, *options], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout, pd.read_csv(folder / "smoke_full.csv")


def stages(*methods: str) -> set[str]:
    """Every stage that the pipeline should run with these methods."""
    shared = {"check", "import_model", "write_vocabulary", "report"}
    shared |= {f"{stage} {task}" for stage in ("ingest", "write_prompts", "synthesize") for task in TASKS}
    learned = ("teach", "finetune", "evaluate")
    return shared | {f"{stage} {method} {task}" for stage in learned for method in methods for task in TASKS}


@pytest.mark.slow
@pytest.mark.end_to_end
def test_official_layouts_and_the_real_tokenizer_go_through_a_real_repro(project: Path, tmp_path: Path) -> None:
    output, table = smoke(project, tmp_path, "--size", "cut", "--methods", "gift", "--threads", "1")
    assert set(table.stage) == stages("gift") and table.stage.is_unique
    assert (table.peak_gib > 0).all() and (table.seconds > 0).all()
    assert "ok: a second `dvc repro` runs nothing" in output
    assert "ok: open_clip loads gift/mnist" in output
