"""The raw data of the tasks of a smoke run, in the layouts of the official archives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.smoke.experiment import TASKS
from tests.datasets.catalogue.trees import make_tree

PER_CLASS = 1  # images per class and split


def make_data(root: Path, tasks: Iterable[str] = TASKS, per_class: int = PER_CLASS) -> None:
    """Writes data/0_raw/<task> under `root` for every task, with all classes but few images."""
    for task in tasks:
        make_tree(task, root / "data" / "0_raw" / task, per_class=per_class)
