"""Scripts in a row at toy size: the best settings of a search are plotted, in another order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

TASK = {"train_images": 40, "test_images": 30}
TOY: dict[str, Any] = {
    "base": "mini", "experiment": "toy", "tasks": {"letters": TASK, "digits": dict(TASK)}, "generator": {"steps": 1},
    "prompts": {"images_per_task": 8},
    "training": {"iterations": 100, "batch_size": 4, "replay_batch_size": 4, "warmup_iterations": 20},
}  # fmt: skip
VARIANTS = "finetune: {base: finetune}\ntuned: {base: l2, consolidation: {weight: [0.1, 3.0]}}\n"
ORDER = ("--order", "digits", "letters")


def script(project: Path, folder: Path, name: str, *options: str) -> str:
    """Runs a script with the toy preset; returns what it printed."""
    shared = ("--preset", "toy.yaml", "--workers", "1", "--work", "work", *ORDER)
    command = [sys.executable, "-m", f"benchmarks.{name}", *shared, *options]
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture
def folder(project: Path, tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mini").symlink_to(project / "data" / "mini")
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY), encoding="utf-8")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "variants.yaml").write_text(VARIANTS, encoding="utf-8")
    return tmp_path


def write_short(folder: Path) -> None:
    """The preset with as few iterations as the search had."""
    training = TOY["training"] | {"iterations": 5, "warmup_iterations": 1}
    (folder / "toy.yaml").write_text(yaml.safe_dump(TOY | {"training": training}), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.end_to_end
def test_the_best_settings_of_a_search_are_plotted(project: Path, folder: Path) -> None:
    cut = ("--iterations", "5", "--tasks", "2", "--methods", "tuned")
    script(project, folder, "search", "--variants", "variants.yaml", "--out", "search.csv", *cut)
    table = pd.read_csv(folder / "search.csv").set_index("variant")
    assert list(table.index) == ["zero_shot", "tuned_0p1", "tuned_3"]
    best = yaml.safe_load((folder / "search_best.yaml").read_text(encoding="utf-8"))
    weight = 0.1 if table["avg"]["tuned_0p1"] >= table["avg"]["tuned_3"] else 3.0
    assert best == {"tuned": {"base": "l2", "consolidation": {"weight": weight}}}

    write_short(folder)
    methods = ("--methods", "tuned", "finetune", "--variants", "search_best.yaml")
    images = ("--images", "4", "8", "--seeds", "1", "--out", "k.csv", "--figure", "k.png")
    script(project, folder, "curve", *methods, *images)
    curve = pd.read_csv(folder / "k.csv")
    assert list(curve["method"] + curve["images"].astype(str)) == ["tuned4", "tuned8", "finetune4", "finetune8"]
    assert (folder / "k.png").is_file()
    script(project, folder, "why", *methods, "--seeds", "1", "--out", "w.csv", "--figure", "w.png")
    followed = pd.read_csv(folder / "w.csv")
    assert list(followed["method"] + followed["step"].astype(str)) == ["tuned1", "tuned2", "finetune1", "finetune2"]
    assert followed["divergence"].notna().tolist() == [True, False] * 2
    assert (folder / "w.png").is_file()
