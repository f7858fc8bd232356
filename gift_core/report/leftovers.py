"""Accuracy files of methods and tasks that are no part of the experiment any more (docs/decisions/0030)."""

from __future__ import annotations

import shutil
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.layout import Layout


def set_aside_leftovers(layout: Layout, config: Config) -> list[Path]:
    """Moves accuracy files that no stage of the experiment writes to .gift/taken_back; returns their old paths.

    The report depends on the whole folder data/6_accuracy, because DVC cannot depend on a list of files. Only files
    at the location of an accuracy file are moved: <method>/<task>.parquet.
    """
    folder = layout.pretrained_accuracy().parent
    own = {layout.accuracy(method, step.task) for method in config.run.methods for step in config.sequence}
    leftovers = [file for file in sorted(folder.glob("*/*.parquet")) if file not in own]
    for file in leftovers:
        target = layout.taken_back() / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
    for of_method in {file.parent for file in leftovers}:
        if not any(of_method.iterdir()):
            of_method.rmdir()
    return leftovers
