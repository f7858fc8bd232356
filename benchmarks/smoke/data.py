"""The raw data of the two tasks of the smoke run, in the layouts of the official archives."""

from __future__ import annotations

from pathlib import Path

from benchmarks.smoke.experiment import TASKS
from tests.datasets.catalogue.trees import make_tree

PER_CLASS = 1  # images per class and split


def make_data(root: Path) -> None:
    """Writes data/0_raw/<task> under `root` for every task, with all classes but few images."""
    for task in TASKS:
        make_tree(task, root / "data" / "0_raw" / task, per_class=PER_CLASS)
