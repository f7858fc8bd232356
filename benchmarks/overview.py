"""Draws docs/overview.png from a finished run: what fine-tuning forgets and GIFT keeps, and some generated pairs.

python -m benchmarks.overview --out docs/overview.png    # after make repro
python -m benchmarks.overview --root project --out picture.png
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.shards import read_pairs
from gift_core.layout import Layout

TITLES = {"finetune": "Plain fine-tuning", "gift": "GIFT"}
SHOWN = 6  # generated pairs


def draw(layout: Layout) -> Figure:
    """Returns the picture: the accuracies on each task by method, and the first generated pairs of the last task."""
    rows = pd.read_csv(layout.reports() / "plots" / "accuracy.csv")
    rows = rows[rows.phase != "probe"]
    figure = plt.figure(figsize=(13, 3.8), dpi=110, layout="constrained")
    curves, pairs = figure.subfigures(1, 2, width_ratios=(7, 5))
    _curves(curves, rows)
    _pairs(pairs, layout, rows.sort_values("task_step").task.iloc[-1])
    return figure


def _curves(figure: SubFigure, rows: pd.DataFrame) -> None:
    for axes, (method, title) in zip(figure.subplots(1, 2, sharey=True), TITLES.items(), strict=True):
        of_method = rows[rows.method == method]
        for (step, task), of_task in of_method.groupby(["task_step", "task"]):
            line = of_task.sort_values("after_step")
            color = f"C{step}"
            axes.plot(line.after_step, line.accuracy, color=color, alpha=0.35)
            learned = line[line.after_step > step]
            axes.plot(learned.after_step, learned.accuracy, color=color, marker="o", markersize=4, label=task)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("tasks trained")
        axes.set_xticks(range(int(rows.after_step.max()) + 1))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("accuracy (percent)")
    figure.axes[0].legend(fontsize=8, frameon=False, loc="lower left")
    figure.suptitle("Accuracy on each task: pale before it is trained, then with dots", fontsize=11)


def _pairs(figure: SubFigure, layout: Layout, task: str) -> None:
    prompts = read_prompts(layout.prompts(task))
    learned = prompts[prompts.source_task != "base"]  # of tasks that were learned before
    numbers = learned.prompt_id.tolist()[:SHOWN]
    pairs = read_pairs(layout.shards(task), numbers)
    grid = figure.subplots(2, SHOWN // 2)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, number in zip(grid.flat, numbers, strict=False):  # a short run has fewer
        axes.imshow(Image.open(io.BytesIO(pairs[number].image)))
        axes.set_title(pairs[number].prompt.replace(" of ", " of\n", 1), fontsize=7.5)
    figure.suptitle("Generated image-text pairs that GIFT replays", fontsize=11)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="the project with the run")
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    arguments = parser.parse_args()
    draw(Layout(arguments.root)).savefig(arguments.out)
