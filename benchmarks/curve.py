"""The metrics against the number of synthetic images per task: `make curve`.

    python -m benchmarks.curve                                   # gift, 50 to 384 images, seeds 1 2 3
    python -m benchmarks.curve --methods gift_cd_ita gift_l2 gift --variants .gift/benchmarks/search_best.yaml \\
        --out benchmarks/consolidation.csv --figure docs/consolidation.png

Only the number of images differs. With the same seed, a smaller set is the beginning of a larger one. The table is
written to .gift/benchmarks/curve.csv, the chart beside it. Results are kept in .gift/curve and reused.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.experiment import Run, run_all
from benchmarks.options import SEEDS, chosen_experiment, parser_of, run_script
from gift_core.report.labels import COLUMN_TITLES, known_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = (50, 100, 200, 384)
METRICS = ("transfer", "avg", "last", "forgetting")
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")  # Okabe and Ito
MARKERS = "os^Dv*P"
LABEL_GAP = 0.07  # between the names at the ends of the lines, as a share of a panel's height


def main() -> None:
    """Runs every number of images with every seed, and plots the curves."""
    parser = parser_of(__doc__, seeds=SEEDS, work=".gift/curve", out=".gift/benchmarks/curve.csv")
    parser.set_defaults(methods=["gift"])
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--figure", type=Path, help="[default: beside --out]")
    choices = parser.parse_args()
    experiment = chosen_experiment(choices)
    runs = {}
    for images in choices.images:
        experiment["prompts"]["images_per_task"] = images
        runs[images] = [Run.of(experiment, choices.work, seed=seed) for seed in choices.seeds]
    run_all([run for of_images in runs.values() for run in of_images], workers=choices.workers)
    rows = pd.DataFrame(
        {"method": method, "images": images, "seed": run.config.seed, **run.metrics()[method]}
        for method in experiment["methods"]
        for images, of_images in runs.items()
        for run in of_images
    )
    rows.round(5).to_csv(choices.out, index=False)
    print(rows.groupby(["method", "images"], sort=False)[list(METRICS)].agg(["mean", "std"]).round(1).to_string())
    plot(rows, choices.figure or choices.out.with_suffix(".png"))


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Plots a panel per metric: the means over the seeds of each method as a line, and each seed as a dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5.2), layout="constrained")
    for axes, metric in zip(figure.subplots(2, 2).flat, METRICS, strict=True):
        _plot_metric(axes, rows, metric)
    figure.savefig(path, dpi=200)


def _plot_metric(axes: Axes, rows: pd.DataFrame, metric: str) -> None:
    methods, images = list(dict.fromkeys(rows["method"])), sorted(set(rows["images"]))
    ends = {}
    for index, (method, color, marker) in enumerate(zip(methods, cycle(COLORS), cycle(MARKERS), strict=False)):
        own = rows[rows["method"] == method]
        means = own.groupby("images")[metric].mean()
        shift = 1.025 ** (2 * index - len(methods) + 1)  # so that dots of different methods do not cover each other
        axes.plot(means.index * shift, means, color=color, marker=marker, markersize=5, linewidth=1.5)
        axes.scatter(own["images"] * shift, own[metric], color=color, s=8, alpha=0.5, linewidth=0)
        ends[method] = (means.iloc[-1], color)
    axes.set_xscale("log")
    axes.set_xticks(images, [str(count) for count in images])
    axes.minorticks_off()
    better = " (lower is better)" if metric == "forgetting" else ""
    axes.set_title(f"{COLUMN_TITLES[metric]}, %{better}", loc="left", size=10)
    axes.tick_params(labelsize=8.5)
    axes.set_xlabel("synthetic images per task", size=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    _label_ends(axes, ends)


def _label_ends(axes: Axes, ends: dict[str, tuple[float, str]]) -> None:
    """Writes the methods' names to the right of the panel, at the heights of their lines but apart from each other."""
    low, high = axes.get_ylim()
    names = sorted(ends, key=lambda method: ends[method][0])
    wanted = np.array([(ends[name][0] - low) / (high - low) for name in names])
    steps = LABEL_GAP * np.arange(len(names))
    heights = np.maximum.accumulate(wanted - steps) + steps
    heights -= (heights - wanted).mean()  # moved up by the gaps: the labels are centered on their lines
    for name, height in zip(names, heights, strict=True):
        axes.annotate(
            known_name(name), (1.02, height), xycoords="axes fraction", color=ends[name][1], va="center", size=8.5
        )


if __name__ == "__main__":
    run_script(main)
