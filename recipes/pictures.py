"""Draws the pictures of docs/how_it_works.md: python -m recipes.pictures (make pictures), after make repro.

forgetting.png, matrix.png, replayed.png and answers.png are of the run in this folder, release.png of
benchmarks/released_five.csv. Look at each before you commit it: how_it_works.md names numbers in them.
"""

from __future__ import annotations

import io
from pathlib import Path
from textwrap import fill, shorten

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.shards import read_pairs
from gift_core.clip.encoding import image_features, text_features
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import load_folder
from gift_core.layout import Layout

ROOT = Path(__file__).resolve().parents[1]
LAYOUT, DOCS = Layout(ROOT), ROOT / "docs"
COLORS = {"finetune": "#d55e00", "gift": "#0072b2", "gift_vocabulary": "#009e73", "zero_shot": "#555555"}
TITLES = {"finetune": "Fine-tuning", "gift": "GIFT", "gift_vocabulary": "gift_vocabulary"}
SEED, TEMPERATURE, NAMES, SURE = 112, 2.0, 6, 0.8


def forgetting(rows: pd.DataFrame) -> Figure:
    """A panel for each task: its accuracy over the sequence. It is shaded until the task is trained."""
    figure = Figure(figsize=(11, 3), dpi=120, layout="constrained")
    tasks = rows.drop_duplicates("task").sort_values("task_step")
    every_axes = figure.subplots(1, len(tasks), sharey=True)
    for axes, task, step in zip(every_axes, tasks.task, tasks.task_step, strict=True):
        own = rows[rows.task == task]
        axes.axvspan(0, step, color="#eeeeee")
        axes.axvline(step, color="#555555", linewidth=1)
        start = own.accuracy[own.after_step == 0].iloc[0]
        axes.axhline(start, color=COLORS["zero_shot"], linestyle="--", linewidth=1)
        ends = own[own.after_step == own.after_step.max()].set_index("method").accuracy
        for method in ("finetune", "gift"):
            line = own[own.method == method].sort_values("after_step")
            axes.plot(line.after_step, line.accuracy, color=COLORS[method], marker="o", markersize=4)
            place = (5, 1 if ends[method] == ends.max() else -8)  # the two labels may be close
            axes.annotate(
                f"{ends[method]:.1f}",
                (line.after_step.iloc[-1], ends[method]),
                xytext=place,
                textcoords="offset points",
                color=COLORS[method],
                size=9,
            )
        axes.set_title(f"{step}. {task}", loc="left", size=11)
        axes.set_xticks(range(len(tasks) + 1))
        axes.set_xlabel("tasks trained")
        _plain(axes)
    every_axes[0].set_ylim(0, 100)
    every_axes[0].set_ylabel("accuracy, %")
    for height, (name, text) in enumerate(
        {"finetune": "fine-tuning", "gift": "GIFT", "zero_shot": "zero-shot"}.items()
    ):
        every_axes[0].text(1.2, 24 - 9 * height, text, color=COLORS[name], size=9)
    return figure


def matrix(rows: pd.DataFrame) -> Figure:
    """The accuracies of both methods after each step (rows) on each task (columns), colored by what counts them."""
    figure = Figure(figsize=(11, 3), dpi=120, layout="constrained")
    for axes, method in zip(figure.subplots(1, 2), ("finetune", "gift"), strict=True):
        own = rows[rows.method == method]
        names = own.drop_duplicates("task").sort_values("task_step").task
        for after, step, accuracy in own[["after_step", "task_step", "accuracy"]].itertuples(index=False):
            color = "#ffffff"
            if after == step:
                color = "#d9ead3"
            elif 0 < after < step:
                color = "#fde9d9"
            axes.add_patch(_square(step, after, color))
            axes.text(step, after, f"{accuracy:.1f}", ha="center", va="center", size=10)
        last = own.after_step.nunique() - 1
        axes.add_patch(_square(1, last, "none", edge="#0072b2", width=len(names)))
        axes.set_xlim(0.5, len(names) + 0.5)
        axes.set_ylim(last + 0.6, -0.5)
        axes.set_xticks(range(1, len(names) + 1), names)
        axes.set_yticks(range(last + 1), ["pre-trained", *(f"after {name}" for name in names)])
        axes.set_title(TITLES[method], loc="left", size=11)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    legend = "orange: not trained yet (Transfer)   green: own task   blue frame: after the last step (Last)"
    figure.supxlabel(legend, size=9.5)
    return figure


def replayed(task: str, shown: int = 8) -> Figure:
    """The first generated images of the task that show names of earlier tasks or general ones, with their prompts."""
    prompts = read_prompts(LAYOUT.prompts(task))
    general = prompts[prompts.source_task == "base"].prompt_id.tolist()[: shown // 2]
    learned = prompts[prompts.source_task != "base"].prompt_id.tolist()[: shown // 2]
    pairs = read_pairs(LAYOUT.shards(task), [*general, *learned])
    figure = Figure(figsize=(11, 2.6), dpi=120, layout="constrained")
    for axes, number in zip(figure.subplots(1, shown), [*general, *learned], strict=True):
        axes.imshow(Image.open(io.BytesIO(pairs[number].image)))
        axes.set_title(fill(pairs[number].prompt, 18), fontsize=8.5, va="bottom")
        axes.set_axis_off()
    return figure


def answers(task: str) -> Figure:
    """What three models say about one generated image: the teacher of the first task, and both methods after it.

    Of the images where the teacher gives its first name less than SURE, it is the one with the median change by
    fine-tuning.
    """
    prompts = read_prompts(LAYOUT.prompts(task))
    texts = sorted(set(prompts.prompt))
    pairs = read_pairs(LAYOUT.shards(task), prompts.prompt_id.tolist())
    images = [pairs[number].image for number in prompts.prompt_id]
    folders = {
        "The teacher: before the task": LAYOUT.pretrained(),
        "After the task, fine-tuning": LAYOUT.model("finetune", task),
        "After the task, GIFT": LAYOUT.model("gift", task),
    }
    said = {title: _answers(folder, images, texts) for title, folder in folders.items()}
    teacher, student = list(said.values())[:2]
    changes = (teacher * (teacher / student).log()).sum(1)
    unsure = (teacher.max(1).values < SURE).nonzero().flatten()
    chosen = int(unsure[changes[unsure].argsort()[len(unsure) // 2]])
    named = teacher[chosen].topk(NAMES).indices.tolist()
    figure = Figure(figsize=(11, 2.9), dpi=120, layout="constrained")
    picture, *panels = figure.subplots(1, 4, width_ratios=(1, 2, 2, 2))
    picture.imshow(Image.open(io.BytesIO(images[chosen])))
    picture.set_title(fill(prompts.prompt.iloc[chosen], 18), size=9)
    picture.set_axis_off()
    for axes, (title, answer), method in zip(panels, said.items(), ("zero_shot", "finetune", "gift"), strict=True):
        rest = 1 - float(answer[chosen, named].sum())
        labels = [
            *(shorten(texts[name].removeprefix("a photo of a ").rstrip("."), 34) for name in named),
            f"{len(texts) - NAMES} others",
        ]
        axes.barh(labels, [*answer[chosen, named].tolist(), rest], color=COLORS[method])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_title(title, loc="left", size=10)
        axes.tick_params(labelsize=8.5, labelleft=axes is panels[0])
        _plain(axes)
    return figure


def release() -> Figure:
    """Avg and Zero-shot change against alpha, of one seed: what a release costs and what it gives back."""
    rows = pd.read_csv(ROOT / "benchmarks" / "released_five.csv")
    rows = rows[rows.seed == SEED].sort_values("alpha")
    figure = Figure(figsize=(11, 3.2), dpi=120, layout="constrained")
    titles = {
        "avg": "Avg of the learned tasks, %",
        "zero_shot_change": "Zero-shot change on tasks that are never trained, points",
    }
    for axes, (quantity, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for method, name in TITLES.items():
            own = rows[rows.method == method]
            axes.plot(own.alpha, own[quantity], color=COLORS[method], marker="o", markersize=4, label=name)
        axes.set_title(title, loc="left", size=11)
        axes.set_xlabel("alpha: the share of the trained weights (0 is the pre-trained model)")
        axes.set_xlim(0.2, 1.05)
        _plain(axes)
    axes.axhline(0, color="#555555", linestyle="--", linewidth=1)
    axes.legend(frameon=False)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _square(column: float, row: float, color: str, *, edge: str = "#cccccc", width: int = 1) -> Rectangle:
    linewidth = 1.0 if edge == "#cccccc" else 2.0
    return Rectangle((column - 0.5, row - 0.5), width, 1, facecolor=color, edgecolor=edge, linewidth=linewidth)


@torch.no_grad()
def _answers(folder: Path, images: list[bytes], texts: list[str]) -> torch.Tensor:
    """The probabilities [images, texts] that the model gives, softened as in the loss distill."""
    clip = load_folder(folder, device=torch.device("cpu"), precision="fp32")
    image_ND = image_features(clip, evaluation_pixels(clip, images), batch_size=64)
    text_PD = text_features(clip, texts, batch_size=64)
    return (clip.scale * image_ND @ text_PD.T / TEMPERATURE).softmax(1)


if __name__ == "__main__":
    accuracies = pd.read_csv(LAYOUT.reports() / "plots" / "accuracy.csv")
    accuracies = accuracies[accuracies.phase != "probe"]
    accuracies["task_step"] += 1  # from 1, as after_step counts the trained tasks
    ordered = accuracies.sort_values("task_step").task.unique()
    for name, figure in {
        "forgetting": forgetting(accuracies),
        "matrix": matrix(accuracies),
        "replayed": replayed(ordered[-1]),
        "answers": answers(ordered[0]),
        "release": release(),
    }.items():
        figure.savefig(DOCS / f"{name}.png", bbox_inches="tight")
