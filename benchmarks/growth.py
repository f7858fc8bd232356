"""How time and memory grow with classes, tasks, synthetic images, models and stages: `make bench-growth`.

    python -m benchmarks.growth                        # all parts, about half an hour
    python -m benchmarks.growth --only stages          # one part
    python -m benchmarks.growth --only classes --classes 5 10 --rounds 1 --out /tmp   # small

Every round measures all sizes of a part, one after another. The median over the rounds is kept. Seconds are processor
time of one thread. Each part is written to growth.json, growth.md and the figure as soon as it is measured. Parts that
are not measured again stay.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.growth_parts import ROOT, SMALL_BATCH, TEST_IMAGES, Row, in_own_process, in_turns
from benchmarks.growth_pipeline import of_stages, of_tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#0072b2", "#d55e00", "#009e73")
PACKAGES = ("torch", "open_clip_torch", "dvc")


@dataclass(frozen=True)
class Part:
    """How a part is shown: `columns` are {key of its rows: heading}, and `x` is the one that grows.

    `laws` are the columns with a fitted law, by its kind: a key of LAWS.
    """

    title: str
    x: str
    columns: Mapping[str, str]
    laws: Mapping[str, str]
    note: str


PARTS = {
    "classes": Part(
        "classes of a task", "classes",
        {"classes": "classes", "iteration": "an iteration of gift, s", "encoding": "texts in evaluate, s",
         "peak_gib": "peak, GiB"},
        {"iteration": "linear", "encoding": "linear", "peak_gib": "linear"},
        "The miniature, with the batches of presets/mini.yaml (64 + 64 images) as random tensors. `evaluate` encodes "
        "three texts for each class. Peak is the memory of the process.",
    ),
    "tasks": Part(
        "tasks", "tasks",
        {"tasks": "tasks", "stages": "stages", "tests": "tests of the pipeline", "last_step": "of the last step",
         "own_and_last": "own task and last model alone", "all_again": "all again after each step",
         "minutes": "minutes of the tests"},
        {},
        "One method, counted by the code that runs its stages: 6 * tasks + 4 stages, and tasks * (tasks + 1) tests "
        "with those of the pre-trained model. All again after each step: tasks * (tasks + 1) * (tasks + 2) / 3. Own "
        "task and last model alone: 2 * tasks - 1, which gives Last and Forgetting, but neither Transfer nor Avg. The "
        f"minutes are arithmetic: the tests, times the measured time of the miniature on {TEST_IMAGES} images.",
    ),
    "images": Part(
        "synthetic images of a task", "images",
        {"images": "images", "opening": "opening, s", "pairs": "reading the pairs alone, s",
         "features": "reading the features, s", "batch_ms": "a batch of 64, ms", "memory_gib": "memory, GiB"},
        {"opening": "linear", "features": "linear", "memory_gib": "linear", "batch_ms": "power"},
        "PNG images of 32 px in shards of 512, with features of the miniature's size. Opening checks and reads the "
        "shards, decodes the images and reads the features, once for each step. Memory is what opening adds to the "
        "peak.",
    ),
    "models": Part(
        "model", "operations",
        {"model": "model", "weights": "weights, 10^6", "operations": "operations, 10^12",
         "iteration": "an iteration of gift, s", "peak_gib": "peak, GiB"},
        {"iteration": "linear"},
        f"{SMALL_BATCH} + {SMALL_BATCH} images and 10 classes, random weights. Operations are counted by torch.",
    ),
    "stages": Part(
        "stages of dvc.yaml", "stages",
        {"stages": "stages", "repro": "dvc repro, s", "dry": "gift run --dry, s"},
        {"repro": "linear", "dry": "linear"},
        "Nothing is to be done. Each stage has one output, and reads params.yaml and the output of another stage.",
    ),
}  # fmt: skip
PANELS = (  # part, what is plotted, columns
    ("classes", "seconds", ("iteration", "encoding")),
    ("tasks", "tests of a model on a test set", ("all_again", "tests", "own_and_last")),
    ("stages", "seconds", ("repro", "dry")),
    ("images", "seconds", ("opening", "pairs", "features")),
    ("images", "GiB", ("memory_gib",)),
    ("models", "seconds", ("iteration",)),
)


def main() -> None:
    """Measures the parts, and writes the record, the page and the figure after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 5, 10, 20, 50])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--models", nargs="+", default=["ViT-B-32", "ViT-B-16", "ViT-L-14"])
    parser.add_argument("--stages", type=int, nargs="+", default=[20, 200, 2000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS, help="measure this part alone")
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    parser.add_argument("--figure", type=Path, help="[default: growth.png beside the record]")
    choices = parser.parse_args()
    choices.out.mkdir(parents=True, exist_ok=True)
    os.environ |= {"GIFT_QUIET": "1", "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(ROOT)}
    for name in [choices.only] if choices.only else PARTS:
        load = os.getloadavg()[0]
        rows = measured(name, getattr(choices, name), choices.rounds)
        parts = record(choices.out, name, {"rows": rows, "circumstances": circumstances(name, choices.rounds, load)})
        plot(parts, choices.figure or choices.out / "growth.png")
    print((choices.out / "growth.md").read_text(encoding="utf-8"))


def measured(name: str, sizes: Sequence[Any], rounds: int) -> list[Row]:
    """Returns a row for each size of a part."""
    if name == "tasks":
        return of_tasks(sizes, rounds)
    if name == "stages":
        return of_stages(sizes, rounds)
    if name != "images":
        return in_turns(name, sizes, rounds)
    with tempfile.TemporaryDirectory() as folder:
        folders = [str(Path(folder, str(size))) for size in sizes]
        for each in folders:
            in_own_process("write_images", each)
        return in_turns(name, folders, rounds)


def record(out: Path, name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces a part in growth.json, writes all parts to growth.md, and returns them."""
    file = out / "growth.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    parts = {each: part if each == name else known[each] for each in PARTS if each == name or each in known}
    file.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    sections = [section(each, content) for each, content in parts.items()]
    (out / "growth.md").write_text("\n".join(["# How time and memory grow\n", *sections]), encoding="utf-8")
    return parts


def section(name: str, part: Mapping[str, Any]) -> str:
    """Returns the heading, the table and the laws of a part."""
    shown, rows = PARTS[name], part["rows"]
    head = [f"| {' | '.join(shown.columns.values())} |", f"|{'---|' * len(shown.columns)}"]
    table = [f"| {' | '.join(_shown(row[key]) for key in shown.columns)} |" for row in rows]
    laws = [f"- {law(name, key, rows)}" for key in shown.laws if len(rows) > 1]
    noise = f"Rounds differ by at most {max(row['spread'] for row in rows):.0%} of a median."
    title = f"## {shown.title[0].upper()}{shown.title[1:]}\n"
    return "\n".join([title, f"{shown.note}\n", *head, *table, "", *laws, f"- {noise}", "", part["circumstances"], ""])


def law(name: str, key: str, rows: Sequence[Row]) -> str:
    """Returns the law of a column in words, and how far the rows are from it."""
    shown = PARTS[name]
    x, y = (np.array([row[each] for row in rows], dtype=float) for each in (shown.x, key))
    text, fitted = LAWS[shown.laws[key]](x, y)
    end = np.diff(np.log(y))[-1] / np.diff(np.log(x))[-1]
    return (
        f"{shown.columns[key]} = {text.format(shown.x)}, within {np.abs(fitted / y - 1).max():.0%}. "
        f"Exponent between the two largest: {end:.2f}."
    )


def linear_law(x: np.ndarray, y: np.ndarray) -> tuple[str, np.ndarray]:
    """Returns y = a + b * x with the least relative errors, and its values."""
    slope, start = np.polyfit(x, y, 1, w=1 / y)
    return f"{start:.2g} + {slope:.2g} * {{}}", start + slope * x


def power_law(x: np.ndarray, y: np.ndarray) -> tuple[str, np.ndarray]:
    """Returns y = c * x^p with the least relative errors, and its values."""
    exponent, logarithm = np.polyfit(np.log(x), np.log(y), 1)
    return f"{np.exp(logarithm):.2g} * {{}}^{exponent:.2f}", np.exp(logarithm) * x**exponent


LAWS = {"linear": linear_law, "power": power_law}


def plot(parts: Mapping[str, Any], path: Path) -> None:
    """Plots the panels of the parts that are measured, with logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    for axes, (name, unit, keys) in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
        if name in parts:
            _plot(axes, PARTS[name], parts[name]["rows"], keys)
            axes.set_title(f"{unit} by {PARTS[name].title}", loc="left", size=9)
        else:
            axes.set_axis_off()
    figure.savefig(path, dpi=200)


def _plot(axes: Axes, shown: Part, rows: Sequence[Row], keys: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    x = [row[shown.x] for row in rows]
    for key, color in zip(keys, COLORS, strict=False):
        label = shown.columns[key].rpartition(", ")[0] or shown.columns[key]
        axes.plot(x, [row[key] for row in rows], color=color, marker="o", markersize=5, linewidth=1.5, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
    axes.set_xticks(x, [str(row.get("model", f"{row[shown.x]:,}")) for row in rows])
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 30 else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, position: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    )
    axes.minorticks_off()
    axes.set_xlabel("model, by its operations" if "model" in rows[0] else shown.x, size=8.5)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.legend(fontsize=7.5, frameon=False, loc="upper left")


def circumstances(part: str, rounds: int, load: float) -> str:
    """Returns a line with the command, date and machine of a part."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {versions}"
    command = f"python -m benchmarks.growth --only {part}"
    return f"(`{command}`, {datetime.date.today()}, {machine}, rounds: {rounds}, load {load:.1f} at the start.)"


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    main()
