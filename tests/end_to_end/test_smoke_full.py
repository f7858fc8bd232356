"""The full-size smoke, cut in depth and width."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.smoke.experiment import TASKS


@pytest.mark.slow
@pytest.mark.end_to_end
def test_official_layouts_and_the_real_tokenizer_go_through_a_real_repro(project: Path, tmp_path: Path) -> None:
    options = ["--size", "cut", "--methods", "gift", "--threads", "1"]
    folders = ["--folder", str(tmp_path), "--record", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.smoke_full", *options, *folders]
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    table = pd.read_csv(tmp_path / "smoke_full.csv")
    of_tasks = ("ingest", "write_prompts", "synthesize", "teach gift", "finetune gift", "evaluate gift")
    expected = {"check", "import_model", "write_vocabulary", "report"}
    assert set(table.stage) == expected | {f"{stage} {task}" for stage in of_tasks for task in TASKS}
    assert table.stage.is_unique and (table.peak_gib > 0).all() and (table.seconds > 0).all()
    assert "ok: a second `dvc repro` runs nothing" in done.stdout
    assert "ok: open_clip loads gift/mnist" in done.stdout
