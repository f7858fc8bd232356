"""What evaluate and report add to the tracked run of a training: accuracies, and the method's scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .stage import Stage

if TYPE_CHECKING:
    import pandas as pd


def track_accuracies(stage: Stage, rows: pd.DataFrame) -> None:
    """Adds the accuracies of the step's model to its run, in percent: accuracy/<task>, and probe/<task>."""
    from gift_core.artifacts.accuracy import PROBE

    own = rows[rows["trained_task"] == stage.task].itertuples()
    found = {f"{PROBE if row.phase == PROBE else 'accuracy'}/{row.eval_task}": 100.0 * float(row.top1) for row in own}
    _track(stage, stage.method, stage.task, found)


def track_metrics(stage: Stage, metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds Transfer, Avg, Last, Forgetting, and the probes' mean and loss of each method to the run of its last model.

    After a failure, the tracker is not tried again: one warning is enough.
    """
    for method in stage.config.run.methods:
        scores = {**metrics.get(method, {})}
        probes = scores.pop("probes", {})
        scores |= {f"probes_{name}": probes[name] for name in ("mean", "loss") if name in probes}
        if scores and not _track(stage, method, stage.config.sequence[-1].task, scores):
            return


def _track(stage: Stage, method: str, task: str, scores: Mapping[str, float | None]) -> bool:
    """Returns whether the tracker still works."""
    from gift_core.artifacts.model_folder import read_provenance
    from gift_core.tracking.tracked_run import describe, tracked_run

    folder, experiment = stage.layout.model(method, task), stage.config.experiment
    with tracked_run(lambda: describe(read_provenance(folder), experiment), stage.layout.root, say=stage.say) as run:
        run.log_scores(scores)
    return run.tracker is not None
