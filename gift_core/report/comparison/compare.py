"""Writes a comparison of finished runs over their seeds: comparison.csv, comparison.json and index.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import write_json
from gift_core.method.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.charts import Chart, seen_chart
from gift_core.report.comparison.paper_table import table_of_runs
from gift_core.report.comparison.runs_by_seed import Comparison
from gift_core.report.highlight import COLORS
from gift_core.report.labels import COLUMN_TITLES, number
from gift_core.report.page import environment
from gift_core.report.scatter import DEVIATIONS, scatter_chart
from gift_core.report.sweeps import sweep_charts
from gift_core.work.publishing import build_folder

TABLE, RECORD, PAGE = "comparison.csv", "comparison.json", "index.html"


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Writes the comparison as the folder `folder`. The same runs give the same bytes."""
    with build_folder(folder) as temporary:
        comparison.values.to_csv(temporary / TABLE, index=False, lineterminator="\n")
        write_json(temporary / RECORD, _as_json(comparison))
        (temporary / PAGE).write_bytes(render_comparison(comparison).encode())


def render_comparison(comparison: Comparison) -> str:
    """The page as HTML. The same comparison gives the same text."""
    styles = comparison.styles
    names = {methods[0]: title for title, methods in comparison.groups.items()}
    if len(comparison.methods) <= COLORS:  # a color of its own for each
        names = {method: comparison.label(method) for methods in comparison.groups.values() for method in methods}
    template = environment(comparison).get_template("comparison.html.j2")
    return template.render(
        comparison=comparison,
        headline=comparison_headline(comparison),
        titles=COLUMN_TITLES,
        scales={column: scale_of(comparison, column) for column in comparison.columns},
        styles=styles,
        legend={styles[method]: name for method, name in names.items()},
        scatter=transfer_and_last(comparison),
        seen_chart=mean_seen_chart(comparison),
        sweeps=sweep_charts(comparison, comparison.scores),
        missing=[f"{comparison.label(method)} (seed {seed})" for seed, method in comparison.missing],
    )


def comparison_headline(comparison: Comparison) -> tuple[str, str]:
    """The result of the method compared with, and how many others differ from it by more than the noise."""
    name, seeds = comparison.against, comparison.seeds
    last = comparison.scores[name]["own" if name in comparison.separate_models else "last"]
    what = f"mean accuracy after {plural(len(comparison.tasks), 'task')}"
    if comparison.seen is not None:
        what = f"accuracy on all classes after {plural(len(comparison.tasks), 'step')}"
    deviation = f" ± {number(last.std())}" if len(last) > 1 else ""
    kept = f"Over {plural(len(seeds), 'seed')}, {comparison.label(name)} has {number(last.mean())}{deviation}% {what}"
    kept += f"{comparison.miniature.of_benchmark}."
    if len(seeds) == 1:
        return kept, " One seed has no spread, so no difference can be distinguished from noise."
    others = {
        method: differences["last"].exceeds_noise
        for method, differences in comparison.differences.items()
        if method not in (ZERO_SHOT, *comparison.references) and "last" in differences
    }
    if not others:
        return kept, ""
    beyond = sum(others.values())
    count = f"{beyond} of {plural(len(others), 'other method')}" if beyond else "No other method"
    verb = "differ" if beyond > 1 else "differs"
    if len(others) == 1:
        count, verb = comparison.label(*others), "differs" if beyond else "does not differ"
    return kept, f" {count} {verb} from it in Last by more than the noise."


def mean_seen_chart(comparison: Comparison) -> Chart | None:
    """The mean over the seeds after every step, in the colors of the groups. None for task-incremental runs."""
    if comparison.seen is None:
        return None
    curves = {method: comparison.seen[method].tolist() for method in (*comparison.methods, ZERO_SHOT)}
    steps = {step: f"After step {step} of {len(curves[ZERO_SHOT])}" for step in range(1, len(curves[ZERO_SHOT]) + 1)}
    styles = {method: comparison.styles[method] for method in comparison.methods}
    return seen_chart(curves, "steps", steps, styles=styles, labels=comparison.labels)


def scale_of(comparison: Comparison, column: str) -> float:
    """The largest distance of a seed from its method's mean in this column, in points."""
    found = [of_method[column] for of_method in comparison.scores.values() if column in of_method]
    return max((float((scores - scores.mean()).abs().max()) for scores in found if len(scores)), default=0.0)


def transfer_and_last(comparison: Comparison) -> dict[str, Any] | None:
    """Transfer against Last. None if there is no Transfer, as in a sequence of one task."""
    by_method = comparison.values.reindex(columns=["method", "transfer", "last"]).groupby("method")
    means = by_method.mean()
    shown = means.dropna().index.difference([*comparison.separate_models])
    names = [method for methods in comparison.groups.values() for method in methods if method in shown]
    if not names:
        return None
    deviations = by_method.std().loc[names].fillna(0.0).set_axis(DEVIATIONS, axis=1)
    points = means.loc[names].set_axis(["x", "y"], axis=1).join(deviations)
    labels, styles = comparison.labels, comparison.styles
    return scatter_chart(points, ("Transfer", "Last"), labels=labels, styles=styles, size=(1072, 560))


def _as_json(comparison: Comparison) -> dict[str, Any]:
    """The content of comparison.json, in percent with four decimals."""
    found = table_of_runs(comparison).record()
    groups = {name: title for title, names in comparison.groups.items() for name in names}
    methods = {name: {"group": title, **found["methods"][name]} for name, title in groups.items()}
    return {
        "experiment": comparison.config.experiment,
        "tasks": list(comparison.tasks),
        "seeds": list(comparison.seeds),
        "missing": [{"seed": seed, "method": method} for seed, method in comparison.missing],
        "against": comparison.against,
        "methods": methods,
    }
