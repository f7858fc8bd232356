"""Compares finished runs over their seeds: writes comparison.csv, comparison.json and index.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import write_json
from gift_core.artifacts.report_json import rounded
from gift_core.method.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.charts import Chart
from gift_core.report.comparison.read_runs import read_runs
from gift_core.report.comparison.scatter_chart import scatter_chart
from gift_core.report.comparison.seed_statistics import Comparison, Difference, Spread, compare_methods
from gift_core.report.curves import seen_curve_chart
from gift_core.report.highlight import COLORS
from gift_core.report.labels import COLUMN_TITLES, LOWER_IS_BETTER, label, number, signed
from gift_core.report.page import environment
from gift_core.work.publishing import build_folder

TABLE, RECORD, PAGE = "comparison.csv", "comparison.json", "index.html"
FEW_CURVES = 8  # with more curves, the names at their ends stand closer together


@dataclass(frozen=True)
class ScoreCell:
    """Mean and deviation as printed; `dots`: distance of each seed from the mean on the column's scale, -1 to 1."""

    mean: str
    deviation: str
    dots: Sequence[float] = ()
    tip: str = ""


@dataclass(frozen=True)
class DifferenceCell:
    """`verdict`: better or worse (beyond the noise), noise (within it), unknown (no interval), none (no difference)."""

    mean: str
    interval: str
    verdict: str


@dataclass(frozen=True)
class MethodRow:
    """A method in both tables; `style` is a CSS class, `seeds` a note if it has fewer seeds than the others."""

    name: str
    style: str
    seeds: str
    scores: Sequence[ScoreCell]
    differences: Sequence[DifferenceCell]


@dataclass(frozen=True)
class RowGroup:
    """The rows of a group of methods."""

    title: str
    rows: Sequence[MethodRow]


def compare_runs(
    roots: Sequence[Path],
    folder: Path,
    *,
    against: str | None = None,
    methods: Sequence[str] | None = None,
    allow_missing: bool = False,
) -> Comparison:
    """Writes the comparison of the runs as the folder `folder` and returns it. The same runs give the same bytes.

    `methods`: None for all of run.methods.

    UserError if the runs differ in more than their seeds, if a method lacks a seed (unless `allow_missing`), or if
    `against` is no method of the runs. ContractError if an accuracy file is damaged.
    """
    comparison = compare_methods(read_runs(roots, methods=methods, allow_missing=allow_missing), against)
    with build_folder(folder) as unfinished:
        comparison.runs.values.to_csv(unfinished / TABLE, index=False, lineterminator="\n")
        write_json(unfinished / RECORD, _as_json(comparison))
        (unfinished / PAGE).write_bytes(render_comparison(comparison).encode())
    return comparison


def render_comparison(comparison: Comparison) -> str:
    """The page as HTML. The same comparison gives the same text."""
    runs, styles = comparison.runs, comparison.styles
    names = {group.methods[0]: group.title for group in comparison.groups}
    if len(runs.methods) <= COLORS:  # a color of its own for each
        names = {method: label(method) for group in comparison.groups for method in group.methods}
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            runs=runs,
            headline=comparison_headline(comparison),
            columns=[(COLUMN_TITLES[column], scale_of(comparison, column)) for column in runs.columns],
            groups=row_groups(comparison),
            legend={styles[method]: name for method, name in names.items()},
            scatter=scatter_chart(comparison),
            seen_chart=mean_seen_chart(comparison),
            missing=[f"{label(method)} (seed {seed})" for seed, method in runs.missing],
        )
    )


def comparison_headline(comparison: Comparison) -> tuple[str, str]:
    """The result of the method compared with, and how many others differ from it by more than the noise."""
    name, runs = comparison.against, comparison.runs
    last = comparison.spreads[name].get("last") or comparison.spreads[name]["own"]
    what = f"mean accuracy after {plural(len(runs.tasks), 'task')}"
    if runs.seen is not None:
        what = f"accuracy on all classes after {plural(len(runs.tasks), 'step')}"
    deviation = "" if last.deviation is None else f" ± {number(last.deviation)}"
    kept = f"Over {plural(len(runs.seeds), 'seed')}, {label(name)} has {number(last.mean)}{deviation}% {what}"
    kept += f"{runs.miniature.of_benchmark}."
    if len(runs.seeds) == 1:
        return kept, " One seed has no spread, so no difference can be distinguished from noise."
    others = {
        method: differences["last"].exceeds_noise
        for method, differences in comparison.differences.items()
        if method not in (ZERO_SHOT, *runs.references) and "last" in differences
    }
    if not others:
        return kept, ""
    beyond = sum(others.values())
    count = f"{beyond} of {plural(len(others), 'other method')}" if beyond else "No other method"
    verb = "differ" if beyond > 1 else "differs"
    if len(others) == 1:
        count, verb = label(*others), "differs" if beyond else "does not differ"
    return kept, f" {count} {verb} from it in Last by more than the noise."


def mean_seen_chart(comparison: Comparison) -> Chart | None:
    """The mean over the seeds after every step, in the colors of the groups. None for task-incremental runs."""
    runs = comparison.runs
    if runs.seen is None:
        return None
    means = runs.seen.groupby(["method", "step"])["percent"].mean()
    curves = {method: [float(value) for value in means[method]] for method in (*runs.methods, ZERO_SHOT)}
    steps = {step: f"After step {step} of {len(runs.tasks)}" for step in range(1, len(runs.tasks) + 1)}
    styles, gap = (
        {method: comparison.styles[method] for method in runs.methods},
        19 if len(curves) <= FEW_CURVES else 15,
    )
    return seen_curve_chart(curves, "steps", steps, styles=styles, gap=gap)


def row_groups(comparison: Comparison) -> list[RowGroup]:
    """The rows of both tables by group."""
    scales = {column: scale_of(comparison, column) for column in comparison.runs.columns}
    return [RowGroup(group.title, [_row(comparison, m, scales) for m in group.methods]) for group in comparison.groups]


def scale_of(comparison: Comparison, column: str) -> float:
    """The largest distance of a seed from its method's mean in this column, in points."""
    methods = [method for method, spreads in comparison.spreads.items() if column in spreads]
    scores = [comparison.runs.scores(method, column) for method in methods]
    return max((float((series - series.mean()).abs().max()) for series in scores if len(series)), default=0.0)


def _row(comparison: Comparison, method: str, scales: Mapping[str, float]) -> MethodRow:
    runs, differences = comparison.runs, comparison.differences.get(method, {})
    count, total = comparison.spreads[method][runs.columns[-1]].count, len(runs.seeds)
    return MethodRow(
        name=label(method),
        style=comparison.styles[method],
        seeds="" if count == total else f"{count} of {total} seeds",
        scores=[_score_cell(comparison, method, column, scale) for column, scale in scales.items()],
        differences=[_difference_cell(differences.get(column), column) for column in runs.columns],
    )


def _score_cell(comparison: Comparison, method: str, column: str, scale: float) -> ScoreCell:
    spread = comparison.spreads[method].get(column, Spread(None, None, 0))
    if spread.mean is None:
        return ScoreCell(number(None), "")
    scores = comparison.runs.scores(method, column)
    return ScoreCell(
        mean=number(spread.mean),
        deviation="" if spread.deviation is None else number(spread.deviation),
        dots=[round((float(value) - spread.mean) / (scale or 1.0), 3) for value in scores],
        tip="\n".join([label(method), *(f"seed {seed}\t{float(value):.2f}" for seed, value in scores.items())]),
    )


def _difference_cell(difference: Difference | None, column: str) -> DifferenceCell:
    if difference is None:
        return DifferenceCell("", "", "none")
    mean = signed(difference.mean)
    if difference.low is None or difference.high is None:
        return DifferenceCell(mean, "", "unknown")
    better = (difference.mean > 0) != (column in LOWER_IS_BETTER)
    verdict = "noise" if not difference.exceeds_noise else "better" if better else "worse"
    return DifferenceCell(mean, f"{signed(difference.low)} to {signed(difference.high)}", verdict)


def _as_json(comparison: Comparison) -> dict[str, Any]:
    """The content of comparison.json, in percent with four decimals."""
    runs, methods = comparison.runs, {}
    for group in comparison.groups:
        for name in group.methods:
            figures = {
                column: {"mean": rounded(each.mean), "deviation": rounded(each.deviation), "seeds": each.count}
                for column, each in comparison.spreads[name].items()
            }
            found = {column: _difference_json(d) for column, d in comparison.differences.get(name, {}).items()}
            methods[name] = {"group": group.title, "figures": figures, "difference": found}
    missing = [{"seed": seed, "method": method} for seed, method in runs.missing]
    head = {"experiment": runs.experiment, "tasks": list(runs.tasks), "seeds": list(runs.seeds), "missing": missing}
    return {**head, "against": comparison.against, "methods": methods}


def _difference_json(difference: Difference) -> dict[str, Any]:
    interval = None if difference.low is None else [rounded(difference.low), rounded(difference.high)]
    noise = {"exceeds_noise": difference.exceeds_noise} if interval else {}
    return {"mean": rounded(difference.mean), "interval_95": interval, **noise, "seeds": difference.count}
