"""The raw data of the smoke's two tasks, in the layouts in which the official archives unpack."""

from __future__ import annotations

from pathlib import Path

from benchmarks.smoke.experiment import TASKS
from tests.datasets.catalogue.trees import make_tree

PER_CLASS = 1  # images of a class in each split


def make_data(root: Path) -> None:
    """Writes data/0_raw/<task> under `root` for every task: all classes, far fewer images than the official ones."""
    for task in TASKS:
        make_tree(task, root / "data" / "0_raw" / task, per_class=PER_CLASS)
