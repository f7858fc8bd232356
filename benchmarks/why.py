"""Follows methods over the steps of a sequence: what they keep, how far the weights move, how far the outputs drift.

    python -m benchmarks.why --preset benchmarks/eleven_tasks.yaml --variants benchmarks/long_sequences_best.yaml \\
        --methods gift vocabulary_alone gift_vocabulary --seeds 4 5 6

After each step: the mean accuracy on the tasks before it and on its own, the distance of the weights from the
pre-trained ones, and the KL divergence from the pre-trained model on the last task, whose images and names no method
has seen until it is learned. The table is written to benchmarks/why.csv, the chart to docs/why.png.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch.nn import functional

from benchmarks.curve import COLORS, MARKERS
from benchmarks.experiment import Run, run_all
from benchmarks.options import SEEDS, chosen_experiment, parser_of, run_script
from gift_core.artifacts.task import iterate_task, read_task
from gift_core.clip.encoding import class_prompts, image_features, text_features
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import Clip, load_folder
from gift_core.report.labels import known_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BATCH = 100
TITLES = {
    "past": "accuracy on the tasks before, %",
    "own": "accuracy on the step's own task, %",
    "distance": "distance of the weights from the start",
    "divergence": "KL from the pre-trained model on new names, nats",
}


def main() -> None:
    """Runs what is missing, and follows all methods."""
    parser = parser_of(__doc__, seeds=SEEDS, work=".gift/why", out=".gift/benchmarks/why.csv")
    parser.add_argument("--figure", type=Path, help="[default: beside --out]")
    choices = parser.parse_args()
    experiment = chosen_experiment(choices)
    runs = [Run.of(experiment, choices.work, seed=seed) for seed in choices.seeds]
    run_all(runs, workers=choices.workers)
    table = pd.concat([followed(run) for run in runs]).round(4)
    table.to_csv(choices.out, index=False)
    means = table.groupby(["step", "method"], sort=False)[list(TITLES)].mean().unstack()
    print(means.round(2).to_string())
    plot(table, choices.figure or choices.out.with_suffix(".png"))


def followed(run: Run) -> pd.DataFrame:
    """Returns a row for each method and step."""
    accuracies, layout, rows = run.accuracies(), run.layout, []
    last = layout.task(run.config.sequence[-1].task)
    pretrained = _load(layout.pretrained())
    known = _log_probabilities(pretrained, last)
    for method in run.config.run.methods:
        own = accuracies[accuracies.method == method]
        for number, step in enumerate(run.config.sequence):
            clip = _load(layout.model(method, step.task))
            accuracy = 100 * own[own.step == number].groupby("phase").top1.mean()
            row = {"seed": run.config.seed, "method": method, "step": number + 1, "past": accuracy.get("past")}
            row |= {"own": accuracy["current"], "distance": _distance(clip, pretrained)}
            new = functional.kl_div(_log_probabilities(clip, last), known, reduction="batchmean", log_target=True)
            is_new = step is not run.config.sequence[-1]
            rows.append(row | {"divergence": new.item() if is_new else None})
    return pd.DataFrame(rows)


def _load(folder: Path) -> Clip:
    return load_folder(folder, device=torch.device("cpu"), precision="fp32")


def _distance(clip: Clip, start: Clip) -> float:
    before = start.trainable()
    squares = [(value - before[name]).square().sum() for name, value in clip.trainable().items()]
    return torch.stack(squares).sum().sqrt().item()


@torch.no_grad()
def _log_probabilities(clip: Clip, task: Path) -> torch.Tensor:
    """The log-probabilities of the classes [N, K] for the test images of a task."""
    info = read_task(task)
    pixels_NCHW = evaluation_pixels(clip, (image for image, _ in iterate_task(task, "test")))
    image_ND = image_features(clip, pixels_NCHW, batch_size=BATCH)
    class_KD = text_features(clip, class_prompts(info.class_names, info.templates), batch_size=BATCH)
    return functional.log_softmax(clip.scale * image_ND @ class_KD.T, dim=1)


def plot(table: pd.DataFrame, path: Path) -> None:
    """Plots a panel for each quantity: the means over the seeds of each method as a line, and each seed as a dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    for axes, (quantity, title) in zip(figure.subplots(2, 2).flat, TITLES.items(), strict=True):
        _plot(axes, table, quantity, title)
    figure.savefig(path, dpi=150)


def _plot(axes: Axes, table: pd.DataFrame, quantity: str, title: str) -> None:
    for method, color, marker in zip(dict.fromkeys(table.method), cycle(COLORS), cycle(MARKERS), strict=False):
        own = table[table.method == method]
        means = own.groupby("step")[quantity].mean()
        axes.plot(means.index, means, color=color, marker=marker, markersize=4, linewidth=1.5, label=known_name(method))
        axes.scatter(own.step, own[quantity], color=color, s=6, alpha=0.5, linewidth=0)
    axes.set_title(title, loc="left", size=10)
    axes.set_xticks(sorted(set(table.step)))
    axes.set_xlabel("tasks learned", size=8.5)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    if quantity == "distance":
        axes.legend(fontsize=8.5, frameon=False)


if __name__ == "__main__":
    run_script(main)
