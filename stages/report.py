"""report: metrics, plots and one page from the accuracies, predictions, losses and images of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .open_stage import open_stage
from .options import PARAMS, ROOT, Params, Root, params_of
from .retired import retire
from .stage import Stage


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
