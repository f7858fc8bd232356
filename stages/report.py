"""report: metrics, plots and one page from the accuracies, losses and synthetic pairs of a run."""

from __future__ import annotations

from stages.stage import PARAMS, ROOT, Params, Root, open_stage


def report(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Compute Transfer, Avg, Last and Forgetting, and write metrics.json, plots and index.html to reports/.

    For a published benchmark, also say whether the zero-shot accuracies agree.
    """
    with open_stage("report", params, root) as stage:
        from gift_core.report.build import build_report

        sentence = build_report(stage.layout, stage.config, stage.layout.reports())
        if sentence:
            stage.say(sentence)
        stage.say(f"open {(stage.layout.reports() / 'index.html').resolve()}")
