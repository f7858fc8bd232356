"""Accuracy against the number of synthetic images per task: `make curve`.

    python benchmarks/curve.py                                   # gift, 50 to 384 images, seeds 1 2 3

Only the number of images differs. With the same seed, a smaller set is the beginning of a larger one. The table is
written to benchmarks/curve.csv, the chart to docs/images_curve.png. Results are kept in .gift/curve and reused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from compare import seeded
from experiment import Run, choose_methods, default_workers, learn_all, prepare_all, read_experiment

IMAGES = (50, 100, 200, 384)
METRICS = ("transfer", "avg", "last")


def main() -> None:
    """Runs every number of images with every seed, and plots the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", type=Path, default=Path("presets/mini_compare.yaml"))
    parser.add_argument("--method", default="gift")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--workers", type=int, default=default_workers(), help="number of processes, with one thread each"
    )
    parser.add_argument("--work", type=Path, default=Path(".gift/curve"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/curve.csv"))
    choices = parser.parse_args()
    runs = {
        (images, seed): run_of(choices.preset, choices.method, images, seed, choices.work)
        for images in choices.images
        for seed in choices.seeds
    }
    prepare_all(runs.values(), workers=choices.workers)
    learn_all(runs.values(), workers=choices.workers)
    rows = pd.DataFrame(
        [{"images": images, "seed": seed, **run.metrics()[choices.method]} for (images, seed), run in runs.items()]
    )
    rows.round(5).to_csv(choices.out, index=False)
    print(rows.groupby("images")[list(METRICS)].agg(["mean", "std"]).round(1).to_string())
    plot(rows, Path("docs/images_curve.png"))


def run_of(preset: Path, method: str, images: int, seed: int, work: Path) -> Run:
    """Returns the run with this number of images and this seed."""
    experiment = seeded(read_experiment(preset), seed)
    experiment["prompts"] |= {"images_per_task": images}
    choose_methods(experiment, {method: experiment["methods"][method]})
    return Run.of(experiment, work / f"images-{images}" / f"seed-{seed}")


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Plots the means over the seeds as lines, and each seed as a dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for metric, color in zip(METRICS, ("#0072b2", "#009e73", "#d55e00"), strict=True):
        means = rows.groupby("images")[metric].mean()
        axes.plot(means.index, means, color=color, marker="o", label=metric.capitalize())
        axes.scatter(rows["images"], rows[metric], color=color, s=12, alpha=0.5)
        axes.annotate(metric.capitalize(), (means.index[-1], means.iloc[-1]), (6, 0), textcoords="offset points",
                      color=color, va="center")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(sorted(set(rows["images"])), [str(count) for count in sorted(set(rows["images"]))])
    axes.minorticks_off()
    axes.set_xlim(right=rows["images"].max() * 1.35)
    axes.set_xlabel("synthetic images per task")
    axes.set_ylabel("accuracy, percent")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
