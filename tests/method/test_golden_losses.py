"""Twenty iterations of every method against recorded losses, to detect changes of a row, a loss or the loop.

benchmarks/golden.py computes both, the recorded ones on a CPU. tests/golden/losses/README.md explains the tolerance.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gift_core.artifacts.model_folder import read_losses
from tests.imports import ROOT, with_all_methods

GOLDEN = ROOT / "tests" / "golden" / "losses"
PRESET = with_all_methods(yaml.safe_load((ROOT / "presets" / "mini.yaml").read_text(encoding="utf-8")))
LEARNING = [name for name, row in PRESET["methods"].items() if row.get("learns") != "nothing" and "release" not in row]

Rows = list[dict[str, float]]


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


def first_difference(rows: Rows, golden: Rows, *, relative: float) -> str:
    """The first difference above the tolerance, as text; empty where there is none."""
    if list(rows[0]) != list(golden[0]):
        return f"the columns: {', '.join(rows[0])} instead of {', '.join(golden[0])}"
    for row, expected in zip(rows, golden, strict=True):
        for column, value in expected.items():
            if not math.isclose(row[column], value, rel_tol=relative, abs_tol=1e-4 * relative):
                return f"column {column} at iteration {row['iteration']}: {row[column]} instead of {value}"
    return ""


def golden_losses(method: str) -> Rows:
    lines = (GOLDEN / f"{method}.jsonl").read_text(encoding="ascii").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("method", LEARNING)
def test_the_losses_are_the_golden_ones(found: Path, method: str) -> None:
    assert (GOLDEN / f"{method}.jsonl").is_file(), f"{method} has no golden losses yet. Run `make golden`."
    rows = read_losses(found / f"{method}.jsonl")
    difference = first_difference(rows, golden_losses(method), relative=tolerance(method))
    assert not difference, (
        f"the losses of {method} moved: {difference}. If the change is meant, run `make golden` and say why in "
        "CHANGELOG.md under Numbers."
    )


def test_twenty_iterations_of_every_method_that_learns_are_recorded() -> None:
    lengths = {file.stem: len(golden_losses(file.stem)) for file in GOLDEN.glob("*.jsonl")}
    assert lengths == dict.fromkeys(LEARNING, 20) | {"joint": 40}  # twenty for each of the two tasks
    assert "zero_shot" not in LEARNING
