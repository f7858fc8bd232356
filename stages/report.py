"""report: every accuracy, loss and picture becomes metrics.json, plots and one page."""

from __future__ import annotations

from stages.stage import PARAMS, ROOT, Params, Root, open_stage


def report(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Compute Transfer, Avg, Last and Forgetting, and write reports/: metrics.json, plots, index.html.

    Of a published benchmark it also says whether the zero-shot row agrees.
    """
    with open_stage("report", params, root) as stage:
        from gift_core.report import build_report

        zero_shot = build_report(stage.layout, stage.config, stage.layout.reports())
        if zero_shot:
            stage.say(zero_shot)
        stage.say(f"open {(stage.layout.reports() / 'index.html').resolve()}")
