"""Accuracies and predictions of what is no part of the experiment any more (docs/decisions/0030)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.layout import Layout

Location = Callable[[str, str], Path]  # of a method and a task


def set_aside_leftovers(layout: Layout, config: Config) -> list[Path]:
    """Moves accuracies and predictions that no stage of the experiment writes to .gift/taken_back.

    Returns their old paths. Stages depend on whole folders, because DVC cannot depend on a list of files. Only files at
    the location of such a file are moved: <method>/<task>.parquet, and <probe>.parquet.
    """
    probes, own = layout.probe("task").parent, set(map(layout.probe, config.evaluation.probes))
    moves = (
        *_leftovers(config, layout.accuracy, layout.taken_back),
        *_leftovers(config, layout.predictions, layout.taken_back_predictions),
        *((file, layout.taken_back_probe(file.stem)) for file in sorted(probes.glob("*.parquet")) if file not in own),
    )
    for file, target in moves:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
    leftovers = [file for file, _ in moves]
    for of_method in {file.parent for file in leftovers}:
        if of_method != probes and not any(of_method.iterdir()):
            of_method.rmdir()
    return leftovers


def _leftovers(config: Config, location: Location, target: Location) -> Iterator[tuple[Path, Path]]:
    """Yields (file, where it is moved), sorted by file."""
    folder = location("method", "task").parent.parent
    own = {location(method, step.task) for method in config.run.methods for step in config.sequence}
    for file in sorted(folder.glob("*/*.parquet")):
        if file not in own:
            yield file, target(file.parent.name, file.stem)
