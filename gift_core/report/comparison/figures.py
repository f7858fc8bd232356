"""The figures of a comparison, as SVG in the width of a paper's column: means and deviations over the seeds.

matplotlib draws them: what converts SVG for a paper reads its files, which have no style sheet and no variables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.accuracies import RunScores
from gift_core.report.comparison.alpha_curves import AlphaCurve
from gift_core.report.comparison.runs_by_seed import Comparison
from gift_core.report.labels import COLUMN_TITLES, shorten
from gift_core.report.sweeps import SHOWN, Sweep, find_sweeps, is_logarithmic

FOLDER = "figures"
WIDTH = 3.25  # inches: a column of two on letter paper (CVPR, ICML)
TEXT = 8  # points
SMALL_TEXT = 7
SMALLEST_TEXT = 6
FEW_TASKS = 6  # the cells of larger matrices have whole percents and no deviations
PANELS = 3  # charts of tasks in a row
COLORS = {  # of page.css, by the style of a method
    "m0": "#c2500a", "m1": "#1f5fbf", "m2": "#0b7d5e", "m3": "#9a3d8f", "m4": "#16789c", "m5": "#8a6d00",
    "g0": "#575c66", "g1": "#c2500a", "g2": "#1f5fbf", "g3": "#0b7d5e",
}  # fmt: skip
MARKERS = "osD^vP*X<>"  # of the methods with one color
DASHES = ("-", "--", ":", "-.")
BARS = {"capsize": 0, "elinewidth": 0.8}  # of a deviation
STYLE: dict[str, Any] = {
    "font.size": TEXT, "axes.titlesize": TEXT, "axes.labelsize": TEXT, "legend.fontsize": SMALL_TEXT,
    "xtick.labelsize": SMALL_TEXT, "ytick.labelsize": SMALL_TEXT, "font.family": "DejaVu Sans",
    "lines.linewidth": 1.3, "lines.markersize": 3, "axes.linewidth": 0.6, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.linewidth": 0.4, "grid.color": "#dcdee2",
    "legend.frameon": False, "svg.fonttype": "none", "svg.hashsalt": "gift",
}  # fmt: skip
Array = npt.NDArray[np.float64]
Tables = Callable[[RunScores], Mapping[str, pd.DataFrame]]  # of a run, by method


@dataclass(frozen=True)
class Figure:
    """The file `name`.svg, with its title and caption on the page."""

    name: str
    title: str
    caption: str
    svg: bytes


@contextmanager
def drawing(height: float) -> Iterator[tuple[Any, BytesIO]]:
    """Yields a matplotlib figure of WIDTH x `height` inches, and the file with its SVG after the block.

    It is higher by the legend of its first chart, which is above all charts. No date: the bytes repeat.
    """
    import matplotlib  # here, because importing it takes a second
    from matplotlib.figure import Figure as Canvas

    stored = BytesIO()
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(layout="constrained")
        yield canvas, stored
        handles, labels = canvas.axes[0].get_legend_handles_labels()
        if labels:
            canvas.legend(handles, labels, loc="outside upper center", ncols=2)
            height += 0.1 + 0.14 * math.ceil(len(labels) / 2)
        canvas.set_size_inches(WIDTH, height)
        canvas.savefig(stored, format="svg", metadata={"Date": None, "Creator": None})


def look_of(comparison: Comparison, method: str) -> dict[str, Any]:
    """Returns color, marker, dashes and label of a method, the same in all figures."""
    styles, label = comparison.styles, shorten(comparison.label(method))
    if method == ZERO_SHOT:
        return {"color": COLORS["g0"], "linestyle": "--", "marker": "", "label": label}
    number = [name for name in comparison.methods if styles[name] == styles[method]].index(method)
    return {
        "color": COLORS[styles[method]],
        "linestyle": DASHES[number % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
        "label": label,
    }


def over_seeds(comparison: Comparison, method: str, tables: Tables) -> tuple[Array, Array]:
    """Returns mean and standard deviation of a method's table over the seeds that have it; one seed deviates by 0."""
    of_runs = [tables(run) for run in comparison.runs.values()]
    values = np.stack([of_run[method].to_numpy(dtype=float) for of_run in of_runs if method in of_run])
    return values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])


def figures_of(comparison: Comparison) -> Iterator[Figure]:
    """Yields the figures of what the runs measured."""
    if not comparison.config.evaluation.protocol.has_matrix:
        yield _curves(comparison, "classes_seen", "Accuracy on all classes seen so far", _seen)
    else:
        yield _curves(comparison, "mean_accuracy", "Mean accuracy over all tasks", lambda run: _means(run.matrices))
        yield _curves_by_task(comparison)
        for method in comparison.methods:
            yield _matrix(comparison, method)
        if len(comparison.tasks) > 1:
            yield _scatter(comparison, "transfer_and_last", "transfer")
    if "probes" in comparison.columns:
        yield _curves(comparison, "zero_shot_kept", "Zero-shot kept", lambda run: _means(run.probes), "probes")
        yield _scatter(comparison, "learned_and_kept", "probes")
    for number, sweep in enumerate(find_sweeps(comparison), 1):
        yield _sweep(comparison, f"ablation_{number}", sweep)
    if comparison.curves:
        looks = {name: look_of(comparison, name) for name in comparison.curves}
        text = "Last against zero-shot kept on the test images as alpha goes from 0 (zero-shot) to 1. Star: released."
        svg = draw_over_alpha(comparison.curves, looks, y_title="Last (%)")
        yield Figure("over_alpha", "Learned against kept, over alpha", _caption(comparison, text, ""), svg)


def _means(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {method: table.mean(axis=1).to_frame() for method, table in tables.items()}


def _seen(run: RunScores) -> dict[str, pd.DataFrame]:
    return {} if run.seen is None else {str(method): run.seen[[method]] for method in run.seen}


def _draw_curves(axes: Any, comparison: Comparison, tables: Tables, column: int) -> None:
    """A line for each method, with a band of one standard deviation."""
    for method in (*comparison.continued, ZERO_SHOT):
        means, deviations = (values[:, column] for values in over_seeds(comparison, method, tables))
        steps = np.arange(len(means)) + len(comparison.tasks) + 1 - len(means)  # class-incremental: no step 0
        look = look_of(comparison, method)
        axes.plot(steps, means, **look)
        if deviations.any():
            axes.fill_between(
                steps, means - deviations, means + deviations, color=look["color"], alpha=0.16, linewidth=0
            )
    axes.xaxis.get_major_locator().set_params(integer=True)


def _caption(comparison: Comparison, text: str, spread: str) -> str:
    """The text, and over several seeds what is a mean; `spread` is what shows the deviation, "" for nothing."""
    if len(comparison.seeds) == 1:
        return text
    deviation = f", {spread} one standard deviation" if spread else ""
    return f"{text} Mean over {len(comparison.seeds)} seeds{deviation}."


def draw_over_alpha(curves: Mapping[str, AlphaCurve], looks: Mapping[str, dict[str, Any]], *, y_title: str) -> bytes:
    """Returns the SVG of learned against kept, a curve for each method, with a star at the chosen alpha."""
    with drawing(2.2) as (canvas, svg):
        axes = canvas.subplots()
        for name, curve in curves.items():
            color, at = looks[name]["color"], list(curve.alphas).index(curve.chosen)
            axes.plot(curve.kept, curve.learned, **looks[name])
            chosen = (curve.kept[at], curve.learned[at])
            axes.plot(*chosen, marker="*", markersize=9, color=color, markeredgecolor="white")
            note = {"textcoords": "offset points", "fontsize": SMALLEST_TEXT, "color": color}
            axes.annotate(f"α {curve.chosen:g}", chosen, (4, 4), **note)
        axes.set(xlabel="Zero-shot kept (%)", ylabel=y_title)
    return svg.getvalue()


def _panels(canvas: Any, count: int, columns: int, *, sharey: bool = False) -> list[Any]:
    """Returns the axes of so many charts, row by row. The rest of the last row is empty."""
    rows = math.ceil(count / columns)
    axes = list(canvas.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return axes[:count]


def _curves(comparison: Comparison, name: str, title: str, tables: Tables, of: str = "") -> Figure:
    with drawing(1.9) as (canvas, svg):
        axes = canvas.subplots()
        _draw_curves(axes, comparison, tables, 0)
        axes.set(xlabel="Tasks trained", ylabel=f"Accuracy on {of} (%)" if of else "Accuracy (%)")
    return Figure(name, title, _caption(comparison, f"{title} after every step.", "band:"), svg.getvalue())


def _curves_by_task(comparison: Comparison) -> Figure:
    rows = math.ceil(len(comparison.tasks) / PANELS)
    with drawing(0.35 + 1.1 * rows) as (canvas, svg):
        charts = _panels(canvas, len(comparison.tasks), PANELS, sharey=True)
        for number, (task, axes) in enumerate(zip(comparison.tasks, charts, strict=True)):
            _draw_curves(axes, comparison, lambda run: run.matrices, number)
            axes.axvline(number + 1, color=COLORS["g0"], linewidth=0.6)
            axes.set_title(shorten(task), fontsize=SMALL_TEXT)
        canvas.supxlabel("Tasks trained (line: this one)", fontsize=SMALL_TEXT)
        canvas.supylabel("Accuracy (%)", fontsize=SMALL_TEXT)
    caption = _caption(comparison, "Accuracy on each task after every step: what is forgotten of it.", "band:")
    return Figure("forgetting", "Forgetting", caption, svg.getvalue())


def _matrix(comparison: Comparison, method: str) -> Figure:
    means, deviations = over_seeds(comparison, method, lambda run: run.matrices)
    tasks = [shorten(task) for task in comparison.tasks]
    few = len(tasks) <= FEW_TASKS
    with drawing(0.9 + (0.3 if few else 0.17) * len(means)) as (canvas, svg):
        axes = canvas.subplots()
        axes.imshow(means, cmap="Blues", vmin=0, vmax=130, aspect="auto")  # dark text on all of them
        for (row, column), mean in np.ndenumerate(means):
            deviation = f"\n±{deviations[row, column]:.1f}" if deviations.any() else ""
            text = f"{mean:.1f}{deviation}" if few else f"{mean:.0f}"
            weight = "bold" if row == column + 1 else "normal"
            axes.text(column, row, text, ha="center", va="center", fontsize=SMALLEST_TEXT, fontweight=weight)
        axes.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right")
        axes.set_yticks(range(len(means)), [comparison.label(ZERO_SHOT), *tasks])
        axes.set(ylabel="After training", xlabel="Accuracy on (%)")
        axes.grid(visible=False)
    text = "Accuracy in percent on each task (column) after each step (row)."
    caption = f"{_caption(comparison, text, '±' if few else '')} Bold: just trained."
    return Figure(f"matrix_{method}", f"Accuracy matrix: {comparison.label(method)}", caption, svg.getvalue())


def _scatter(comparison: Comparison, name: str, column: str) -> Figure:
    """Last against another column of the result table."""
    titles = COLUMN_TITLES[column], COLUMN_TITLES["last"]
    with drawing(2.2) as (canvas, svg):
        axes = canvas.subplots()
        for method in (*comparison.continued, ZERO_SHOT):
            x, y = comparison.scores[method][column], comparison.scores[method]["last"]
            look = {**look_of(comparison, method), "linestyle": "none", "markersize": 4, **BARS}
            look["marker"] = look["marker"] or "+"
            spread = {"xerr": x.std(), "yerr": y.std()} if len(x) > 1 else {}
            axes.errorbar(x.mean(), y.mean(), **look, **spread)
        axes.set(xlabel=f"{titles[0]} (%)", ylabel=f"{titles[1]} (%)")
    caption = _caption(comparison, "Up and to the right is better.", "bars:")
    return Figure(name, f"{titles[1]} against {titles[0]}", caption, svg.getvalue())


def _sweep(comparison: Comparison, name: str, sweep: Sweep) -> Figure:
    """Each metric against the number in which alone the rows of several methods differ."""
    columns = [column for column in SHOWN if column in comparison.columns]
    rows = math.ceil(len(columns) / 2)
    with drawing(0.3 + 1.2 * rows) as (canvas, svg):
        for column, axes in zip(columns, _panels(canvas, len(columns), 2), strict=True):
            by_value = {value: comparison.scores[method][column] for value, method in sweep.methods.items()}
            known = {value: scores for value, scores in by_value.items() if len(scores)}
            means = [scores.mean() for scores in known.values()]
            deviations = [scores.std() if len(scores) > 1 else 0.0 for scores in known.values()]
            axes.errorbar([*known], means, deviations, color=COLORS["m0"], marker="o", **BARS)
            axes.set_title(f"{COLUMN_TITLES[column]} (%)", fontsize=SMALL_TEXT)
            if is_logarithmic([*sweep.methods]):
                axes.set_xscale("log")
            axes.set_xticks([*sweep.methods], [f"{value:g}" for value in sweep.methods], minor=False)
            axes.minorticks_off()
        canvas.supxlabel(sweep.key, fontsize=SMALL_TEXT)
    text = f"The rows {', '.join(sweep.methods.values())} differ in this number alone. Each chart has its own scale."
    return Figure(name, f"Ablation: {sweep.key}", _caption(comparison, text, "bars:"), svg.getvalue())
