"""The comparison's page: one self-contained HTML text in the look of the report."""

from __future__ import annotations

from gift_core.metrics import ZERO_SHOT
from gift_core.report.comparison.course import course_of
from gift_core.report.comparison.figures import TITLES, Comparison, Spread
from gift_core.report.comparison.scatter import scatters_of
from gift_core.report.comparison.tables import reach_of, row_groups
from gift_core.report.page import environment
from gift_core.report.words import label, number, plural


def render_comparison(comparison: Comparison) -> str:
    """The whole page as HTML; the same text for the same comparison."""
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            runs=comparison.runs,
            headline=headline(comparison),
            columns=[(TITLES[column], reach_of(comparison, column)) for column in comparison.runs.columns],
            groups=row_groups(comparison),
            scatters=scatters_of(comparison),
            course=course_of(comparison),
            missing=[f"{label(method)} (seed {seed})" for seed, method in comparison.runs.missing],
        )
    )


def headline(comparison: Comparison) -> tuple[str, str]:
    """The result in one sentence: what the chosen method keeps, and how many others differ by more than the noise."""
    name, runs = comparison.against, comparison.runs
    last = comparison.spreads[name].get("last") or comparison.spreads[name]["own"]
    kept = f"Over {plural(len(runs.seeds), 'seed')} {label(name)} keeps {with_deviation(last)}% "
    if runs.seen is None:
        kept += f"mean accuracy after {plural(len(runs.tasks), 'task')}"
    else:
        kept += f"accuracy among all classes after {plural(len(runs.tasks), 'step')}"
    if len(runs.seeds) == 1:
        return f"{kept};", " one seed shows no spread, so nothing here can be told from noise."
    others = [
        differences["last"]
        for method, differences in comparison.differences.items()
        if method not in (ZERO_SHOT, *runs.references) and "last" in differences
    ]
    beyond = sum(difference.exceeds_noise for difference in others)
    return (
        f"{kept};",
        f" {beyond} of {plural(len(others), 'other method')} differ from it in Last by more than the noise.",
    )


def with_deviation(spread: Spread) -> str:
    """`85.5 ± 0.4`, without the deviation where one seed gives none."""
    return number(spread.mean) + ("" if spread.deviation is None else f" ± {number(spread.deviation)}")
