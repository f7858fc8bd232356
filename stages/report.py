"""report: metrics, plots and one page from the accuracies, predictions, losses and images of a run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.quantities import first_names

from .options import PARAMS, ROOT, Params, Root, params_of
from .stage import Stage, open_stage

SHOWN_NAMES = 6


def report(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Compute Transfer, Avg, Last and Forgetting, and write metrics.json, plots and index.html to reports/.

    For a published benchmark, also say whether the zero-shot accuracies agree.

    Example: gift report
    """
    params = params_of(params, root)
    with open_stage("report", params, root) as stage:
        from gift_core.artifacts.report_json import read_metrics
        from gift_core.config.checks import require_task
        from gift_core.report.page import build_report

        require_task(stage.config, params.name)
        retire(stage, params)
        for sentence in build_report(stage.layout, stage.config, stage.layout.reports()):
            stage.say(sentence)
        track_metrics(stage, read_metrics(stage.layout.reports() / "metrics.json"))
        stage.say(f"open {(stage.layout.reports() / 'index.html').resolve()}")


def track_metrics(stage: Stage, metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds Transfer, Avg, Last, Forgetting, Zero-shot kept and its change of each method to the run of its last model.

    After a failure, the tracker is not tried again: one warning is enough.
    """
    for method in stage.config.run.methods:
        scores = {**metrics.get(method, {})}
        probes = scores.pop("probes", {})
        if probes:
            scores |= {"zero_shot_kept": probes["mean"], "zero_shot_change": probes["change"]}
        if scores and not stage.track(scores, method, stage.config.sequence[-1].task):
            return


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
