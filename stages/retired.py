"""Results of methods and tasks that are no part of the experiment any more."""

from __future__ import annotations

import shutil
from pathlib import Path

from gift_core.quantities import first_names

from .options import PARAMS
from .stage import Stage

SHOWN_NAMES = 6


def retire(stage: Stage, params: Path) -> None:
    """Moves accuracies and predictions that no stage of the experiment writes to .gift/retired (docs/decisions/0030).

    Stages depend on whole folders, because DVC cannot depend on a list of files. Only files at the location of such a
    file are moved: <method>/<task>.parquet, and <probe>.parquet. The stages check and report do the same, so that the
    former report comes from the cache. Another params file than the project's own moves nothing.
    """
    if params.absolute() != (stage.layout.root / PARAMS).absolute():
        return
    layout, config = stage.layout, stage.config
    moves = dict[Path, Path]()
    for location, suffix in ((layout.accuracy, ""), (layout.predictions, ".predictions")):
        current = {location(method, step.task) for method in config.run.methods for step in config.sequence}
        files = sorted(location("method", "task").parent.parent.glob("*/*.parquet"))
        moves |= {file: layout.retired(file.parent.name, file.stem + suffix) for file in files if file not in current}
    probes, current = layout.probe("task").parent, set(map(layout.probe, config.evaluation.probes))
    files = sorted(probes.glob("*.parquet"))
    moves |= {file: layout.retired("probes", file.stem) for file in files if file not in current}
    for file, target in moves.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
    for folder in {file.parent for file in moves} - {probes}:
        if not any(folder.iterdir()):
            folder.rmdir()
    if moves:
        names = list(dict.fromkeys(f"{file.parent.name}/{file.stem}" for file in moves))
        target = layout.retired("method", "task").parent.parent
        stage.say(f"no part of the experiment any more, moved to {target}: {first_names(names, SHOWN_NAMES)}")
