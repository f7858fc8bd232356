"""The search for each method's rate on a validation part of the training splits: the test splits are never seen.

    python benchmarks/search.py                                        # finetune and gift, five rates each
    python benchmarks/search.py --methods gift --anchor-weights 0.1 0.3 1

Of every task's training images the last fifth (seeded) is held out and stands in for the test split. All methods get
the same rates. A method's best rate is the one with the highest Avg. Rows go to benchmarks/search.csv.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from experiment import Run, choose_methods, read_experiment

from gift_core.artifacts.images import image_extension
from gift_core.artifacts.task import iterate_task, read_task, write_task
from gift_core.layout import Layout
from gift_core.seeds import seed_for
from stages.ingest import ingest

SEED = 100  # no seed of the effect benchmark
HELD_OUT = 0.2


def main() -> None:
    """Runs every method at every rate and prints what each gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", type=Path, default=Path("presets/mini.yaml"))
    parser.add_argument("--methods", nargs="+", default=["finetune", "gift"])
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-5, 1e-4, 2e-4, 5e-4, 1e-3])
    parser.add_argument("--anchor-weights", type=float, nargs="+", default=None)
    parser.add_argument("--work", type=Path, default=Path(".gift/search"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/search.csv"))
    choices = parser.parse_args()
    experiment = read_experiment(choices.preset)
    experiment["seed"] = experiment["generator"]["seed"] = SEED
    variants = rows_to_try(experiment, choices.methods, choices.rates, choices.anchor_weights)
    choose_methods(experiment, variants)
    run = Run(experiment, choices.work / choices.preset.stem)
    for step in run.config.sequence:
        hold_out(run, step.task)
    run.prepare()
    run.learn()
    table = pd.DataFrame([{"variant": name, **row} for name, row in run.metrics().items()]).round(2)
    table.to_csv(choices.out, index=False)
    print(table.to_string(index=False))


def rows_to_try(
    experiment: dict[str, Any], methods: list[str], rates: list[float], anchor_weights: list[float] | None
) -> dict[str, dict[str, Any]]:
    """Returns a row of `methods:` for each method, rate and anchor weight."""
    variants = {}
    for method in methods:
        for rate in rates:
            row = copy.deepcopy(experiment["methods"][method]) | {"learning_rate": rate}
            name = f"{method}_rate_{rate:.0e}".replace("-0", "_").replace("-", "_")
            if anchor_weights is None or row["anchor"]["kind"] == "none":
                variants[name] = row
                continue
            for weight in anchor_weights:
                anchored = copy.deepcopy(row)
                anchored["anchor"]["weight"] = weight
                variants[f"{name}_anchor_{weight:g}".replace(".", "_")] = anchored
    return variants


def hold_out(run: Run, task: str) -> None:
    """Ingests the task into a folder aside, and writes it with its training images alone, a fifth of them as test."""
    if run.layout.task(task).exists():
        return
    aside = Layout(run.root / "whole")
    ingest(task, params=run.params, root=aside.root)
    info = read_task(aside.task(task))
    samples = [(image, image_extension(image), label) for image, label in iterate_task(aside.task(task), "train")]
    order = np.random.default_rng(seed_for("hold out", SEED, task)).permutation(len(samples))
    held = round(HELD_OUT * len(samples))
    write_task(
        run.layout.task(task),
        info,
        train=[samples[index] for index in order[held:]],
        test=[samples[index] for index in order[:held]],
        images_per_shard=run.config.ingest.images_per_shard,
    )


if __name__ == "__main__":
    main()
