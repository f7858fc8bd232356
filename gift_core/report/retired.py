"""Accuracies and predictions of what is no part of the experiment any more (docs/decisions/0030)."""

from __future__ import annotations

import shutil
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.layout import Layout


def retire_results(layout: Layout, config: Config) -> list[Path]:
    """Moves accuracies and predictions that no stage of the experiment writes to .gift/retired.

    Returns their old paths. Stages depend on whole folders, because DVC cannot depend on a list of files. Only files at
    the location of such a file are moved: <method>/<task>.parquet, and <probe>.parquet.
    """
    probes, moves = layout.probe("task").parent, dict[Path, Path]()
    for location, suffix in ((layout.accuracy, ""), (layout.predictions, ".predictions")):
        current = {location(method, step.task) for method in config.run.methods for step in config.sequence}
        files = sorted(location("method", "task").parent.parent.glob("*/*.parquet"))
        moves |= {file: layout.retired(file.parent.name, file.stem + suffix) for file in files if file not in current}
    current, files = set(map(layout.probe, config.evaluation.probes)), sorted(probes.glob("*.parquet"))
    moves |= {file: layout.retired("probes", file.stem) for file in files if file not in current}
    for file, target in moves.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
    for folder in {file.parent for file in moves} - {probes}:
        if not any(folder.iterdir()):
            folder.rmdir()
    return list(moves)
