"""report: metrics, plots and one page from the accuracies, predictions, losses and images of a run."""

from __future__ import annotations

from pathlib import Path

from gift_core.quantities import first_names

from .stage import PARAMS, ROOT, Params, Root, Stage, open_stage, params_of

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

        from .tracked import track_metrics

        require_task(stage.config, params.name)
        retire(stage, params)
        for sentence in build_report(stage.layout, stage.config, stage.layout.reports()):
            stage.say(sentence)
        track_metrics(stage, read_metrics(stage.layout.reports() / "metrics.json"))
        stage.say(f"open {(stage.layout.reports() / 'index.html').resolve()}")


def retire(stage: Stage, params: Path) -> None:
    """Moves accuracies and predictions of retired methods and tasks out of the report's dependencies.

    The stage check does the same, so that the former report comes from the cache. Another params file than the
    project's own moves nothing.
    """
    if params.absolute() != (stage.layout.root / PARAMS).absolute():
        return
    from gift_core.report.retired import retire_results

    files = retire_results(stage.layout, stage.config)
    if files:
        names = list(dict.fromkeys(f"{file.parent.name}/{file.stem}" for file in files))
        folder = stage.layout.retired("method", "task").parent.parent
        stage.say(f"no part of the experiment any more, moved to {folder}: {first_names(names, SHOWN_NAMES)}")
