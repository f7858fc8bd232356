"""Searches learning rates and consolidation weights on a validation part of the training splits: `make search`.

    python benchmarks/search.py                          # nine methods of presets/mini_compare.yaml
    python benchmarks/search.py --methods gift ewc       # two methods

The last fifth (seeded) of every task's training images is the validation part. It replaces the test split, which is
never used. All methods are tried with the same three rates, and all consolidations with the same two weights. The best
setting of a method is the one with the highest Avg. Ablations of GIFT keep the numbers of GIFT, so that they differ in
one setting only. The table is written to benchmarks/search.csv.
"""

from __future__ import annotations

import argparse
import copy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from experiment import Run, choose_methods, default_workers, learn_all, read_experiment

from gift_core.artifacts.tars import image_extension
from gift_core.artifacts.task import iterate_task, read_task, write_task
from gift_core.layout import Layout
from gift_core.seeds import seed_for
from stages.ingest import ingest

SEED = 100  # not a seed of the comparison
HELD_OUT = 0.2
METHODS = ("finetune", "lwf", "lwf_vr", "icarl", "wise_ft", "l2", "ewc", "zscl", "gift")
RATES = (1e-4, 2e-4, 5e-4)
CONSOLIDATION_WEIGHTS = (0.1, 1.0)


def main() -> None:
    """Runs every method with every setting, and prints the metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", type=Path, default=Path("presets/mini_compare.yaml"))
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--consolidation-weights", type=float, nargs="+", default=CONSOLIDATION_WEIGHTS)
    parser.add_argument("--tasks", type=int, default=3, help="number of tasks, from the start of the sequence")
    parser.add_argument(
        "--workers", type=int, default=default_workers(), help="number of processes, with one thread each"
    )
    parser.add_argument("--work", type=Path, default=Path(".gift/search"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/search.csv"))
    choices = parser.parse_args()
    experiment = read_experiment(choices.preset)
    experiment["seed"] = experiment["generator"]["seed"] = SEED
    experiment["sequence"] = experiment["sequence"][: choices.tasks]
    variants = {
        name: row
        for method in choices.methods
        for name, row in settings(
            method, experiment["methods"][method], choices.rates, choices.consolidation_weights
        ).items()
    }
    choose_methods(experiment, variants)
    run = Run.of(experiment, choices.work / choices.preset.stem)
    for step in run.config.sequence:
        hold_out(run, step.task)
    run.prepare()
    learn_all([run], workers=choices.workers)
    table = figures(run)
    table.to_csv(choices.out, index=False)
    print(table.to_string(index=False))


def settings(
    method: str, row: dict[str, Any], rates: list[float], consolidation_weights: list[float]
) -> dict[str, dict[str, Any]]:
    """Returns a row of `methods:` for each rate, and for each weight if the consolidation of the method has one."""
    weights = consolidation_weights if "weight" in row["consolidation"] else [None]
    found = {}
    for rate, weight in product(rates, weights):
        changed = copy.deepcopy(row) | {"learning_rate": rate}
        name = f"{method}_rate_{_as_name(rate)}"
        if weight is not None:
            changed["consolidation"]["weight"] = weight
            name += f"_consolidation_{_as_name(weight)}"
        found[name] = changed
    return found


def figures(run: Run) -> pd.DataFrame:
    """Returns one row per setting, in percent. own is the mean accuracy on the task just learned."""
    accuracies = run.accuracies()
    own = 100 * accuracies[accuracies.phase == "current"].groupby("method").top1.mean()
    rows = []
    for name, metrics in run.metrics().items():
        row = run.config.methods.get(name)
        weight = getattr(row.consolidation, "weight", None) if row else None
        rate = row.learning_rate if row else None
        rows.append({"variant": name, "rate": rate, "consolidation_weight": weight, **metrics, "own": own.get(name)})
    return pd.DataFrame(rows).round(5)


def hold_out(run: Run, task: str) -> None:
    """Writes the task with its training images only. A fifth of them, sampled by seed, become the test split."""
    if run.layout.task(task).exists():
        return
    complete = Layout(run.root / "complete")
    ingest(task, params=run.params, root=complete.root)
    info = read_task(complete.task(task))
    samples = [(image, image_extension(image), label) for image, label in iterate_task(complete.task(task), "train")]
    order = np.random.default_rng(seed_for("hold out", SEED, task)).permutation(len(samples))
    held = round(HELD_OUT * len(samples))
    write_task(
        run.layout.task(task),
        info,
        train=[samples[index] for index in order[held:]],
        test=[samples[index] for index in order[:held]],
        images_per_shard=run.config.ingest.images_per_shard,
    )


def _as_name(value: float) -> str:
    return f"{value:g}".replace("-", "m").replace(".", "p")


if __name__ == "__main__":
    main()
