"""report: every accuracy, loss and picture becomes metrics.json, plots and one page."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Params, Root, open_cell


def report(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Compute Transfer, Avg, Last and Forgetting, and write reports/: metrics.json, plots, index.html.

    Of a published benchmark it also says whether the zero-shot row agrees.
    """
    with open_cell("report", params, root) as cell:
        from gift_core.report import build_report

        zero_shot = build_report(cell.layout, cell.config, cell.layout.reports())
        if zero_shot:
            cell.say(zero_shot)
        cell.say(f"open {(cell.layout.reports() / 'index.html').resolve()}")
