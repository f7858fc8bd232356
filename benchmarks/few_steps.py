"""Few denoising steps: the speed and quality of the images, and the result of gift: `make bench-few-steps`.

    python -m benchmarks.few_steps --variants benchmarks/vocabulary.yaml --order letters textures zodiac

The steps vary at guidance 3, the guidance at 10 steps, which are the settings of the miniature. The plot has the first
method of --methods. Accuracy of the images is how often the pre-trained CLIP ranks an image's own prompt first among
all prompts of its task. Speed is relative to the settings of the miniature, measured in turns in one process. Results
are kept in .gift/curve and reused.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from PIL import Image

from benchmarks.experiment import Experiment, Run, run_all
from benchmarks.options import SEEDS, chosen_experiment, parser_of, run_script
from gift_core.artifacts.shards import iterate_pairs
from recipes.mini.measure import MiniClip, generate, load_pipeline, sample_prompts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEPS, GUIDANCE = (4, 6, 10, 20, 50), (1.0, 2.0, 3.0, 5.0)
USUAL = (10, 3.0)  # of the presets of the miniature
IMAGES = 200  # per task: with more, gift's Last does not rise
METRICS = ("transfer", "avg", "last", "forgetting")
PANELS = {"speed": "images a second, relative", "accuracy": "accuracy of the images, %", "last": "Last of gift, %"}
ROUNDS, BATCH = 3, 64


def main() -> None:
    """Runs every setting with every seed, measures its speed, and plots both."""
    parser = parser_of(__doc__, seeds=SEEDS, work=".gift/curve", out=".gift/benchmarks/few_steps.csv")
    parser.set_defaults(methods=["gift"])
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--guidance", type=float, nargs="+", default=GUIDANCE)
    parser.add_argument("--images", type=int, default=IMAGES, help="generated images per task")
    parser.add_argument("--figure", type=Path, help="[default: beside --out]")
    choices = parser.parse_args()
    steps, guidance = USUAL
    varied = [(each, guidance) for each in choices.steps] + [(steps, each) for each in choices.guidance]
    settings = list(dict.fromkeys(varied))
    experiment = chosen_experiment(choices)
    experiment["prompts"]["images_per_task"] = choices.images
    runs = {setting: runs_of(experiment, setting, choices.seeds, choices.work) for setting in settings}
    run_all([run for of_setting in runs.values() for run in of_setting], workers=choices.workers)
    torch.set_num_threads(1)
    clip, speeds = MiniClip(), relative_speeds(settings)
    rows = pd.DataFrame(
        {"steps": setting[0], "guidance": setting[1], "speed": speeds[setting], "seed": run.config.seed}
        | {"method": method, "accuracy": accuracy_of_images(clip, run), **run.metrics()[method]}
        for setting, of_setting in runs.items()
        for run in of_setting
        for method in experiment["methods"]
    )
    rows.round(5).to_csv(choices.out, index=False)
    columns = ["speed", "accuracy", *METRICS]
    print(rows.groupby(["method", "steps", "guidance"], sort=False)[columns].agg(["mean", "std"]).round(1).to_string())
    plot(rows[rows["method"] == rows["method"][0]], choices.figure or choices.out.with_suffix(".png"))


def runs_of(experiment: Experiment, setting: tuple[int, float], seeds: Sequence[int], work: Path) -> list[Run]:
    """Returns the runs with this number of steps and this guidance, one for each seed."""
    steps, guidance = setting
    changed = experiment | {"generator": experiment["generator"] | {"steps": steps, "guidance": guidance}}
    return [Run.of(changed, work, seed=seed) for seed in seeds]


def accuracy_of_images(clip: MiniClip, run: Run) -> float:
    """Returns how often, in percent, CLIP ranks an image's own prompt first in its task: the mean of all tasks."""
    return 100 * statistics.mean(_accuracy(clip, run.layout.shards(step.task)) for step in run.config.sequence)


def _accuracy(clip: MiniClip, shards: Path) -> float:
    pairs = list(iterate_pairs(shards))
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    image_BD = clip.images(Image.open(BytesIO(pair.image)).convert("RGB") for pair in pairs)
    chosen = (image_BD @ clip.texts(prompts).T).argmax(1).tolist()
    return statistics.mean(prompts[index] == pair.prompt for index, pair in zip(chosen, pairs, strict=True))


def relative_speeds(settings: Sequence[tuple[int, float]]) -> dict[tuple[int, float], float]:
    """Returns images per second of each setting, relative to the usual one. The median over rounds of all settings."""
    pipeline, prompts = load_pipeline(), sample_prompts(BATCH, seed=0)

    def seconds(setting: tuple[int, float]) -> float:
        started = time.monotonic()
        generate(pipeline, prompts, steps=setting[0], guidance=setting[1], seed=0)
        return time.monotonic() - started

    seconds(USUAL)  # the first call is slower
    rounds = [{setting: seconds(setting) for setting in (*settings, USUAL)} for _ in range(ROUNDS)]
    return {setting: statistics.median(each[USUAL] / each[setting] for each in rounds) for setting in settings}


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Plots a row of panels for the steps and one for the guidance: means as lines, and each seed as a dot."""
    from matplotlib.figure import Figure

    steps, guidance = USUAL
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(2, len(PANELS))
    for column, (quantity, title) in enumerate(PANELS.items()):
        _plot(panels[0][column], rows[rows["guidance"] == guidance], "steps", quantity, title)
        _plot(panels[1][column], rows[rows["steps"] == steps], "guidance", quantity, title)
    figure.savefig(path, dpi=200)


def _plot(axes: Axes, rows: pd.DataFrame, varied: str, quantity: str, title: str) -> None:
    rows = rows.sort_values(varied)
    means = rows.groupby(varied)[quantity].mean()
    axes.plot(means.index, means, color="#0072b2", marker="o", markersize=5, linewidth=1.5)
    axes.scatter(rows[varied], rows[quantity], color="#0072b2", s=8, alpha=0.5, linewidth=0)
    if varied == "steps":
        axes.set_xscale("log")
    axes.set_xticks(means.index, [f"{value:g}" for value in means.index])
    axes.minorticks_off()
    axes.set_title(title, loc="left", size=10)
    axes.set_xlabel("denoising steps" if varied == "steps" else "guidance", size=8.5)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)


if __name__ == "__main__":
    run_script(main)
