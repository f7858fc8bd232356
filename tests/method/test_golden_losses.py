"""Twenty iterations of every method against recorded losses, to detect changes of a row, a loss or the loop.

benchmarks/golden.py computes both, the recorded ones on a CPU. tests/golden/losses/README.md explains the tolerance.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from gift_core.artifacts.model_folder import read_losses
from tests.imports import ROOT, with_all_methods

GOLDEN = ROOT / "tests" / "golden" / "losses"
PRESET = with_all_methods(yaml.safe_load((ROOT / "presets" / "mini.yaml").read_text(encoding="utf-8")))
LEARNING = [name for name, row in PRESET["methods"].items() if row.get("learns") != "nothing" and "release" not in row]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, device: torch.device) -> Path:
    """The folder of the current losses of the preset's methods."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "preset.yaml").write_text(yaml.safe_dump(PRESET, sort_keys=False), encoding="utf-8")
    options = ["--preset", folder / "preset.yaml", "--out", folder, "--device", str(device)]
    command = [sys.executable, "-m", "benchmarks.golden", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def tolerance(method: str) -> float:
    """The relative tolerance of the method's columns: several times the effect of rounding."""
    row = PRESET["methods"][method]
    if not row["losses"] and row["consolidation"]["kind"] == "none":
        return 2e-4
    # student and teacher are equal at first: the first gradients of distillation are rounding noise, scaled up by Adam
    return 0.15 if list(row["losses"]) == ["distill"] else 1e-2


@pytest.mark.parametrize("method", LEARNING)
def test_the_losses_are_the_golden_ones(found: Path, method: str) -> None:
    """If a change is meant, run `make golden` and say why in CHANGELOG.md under Numbers."""
    relative = tolerance(method)
    ours, golden = (pd.DataFrame(read_losses(folder / f"{method}.jsonl")) for folder in (found, GOLDEN))
    pd.testing.assert_frame_equal(ours, golden, rtol=relative, atol=1e-4 * relative, check_dtype=False)
