"""Searches the settings of methods on a validation part of the training splits: `make search`.

    python -m benchmarks.search                          # all of benchmarks/search.yaml
    python -m benchmarks.search --methods gift ewc       # two of its methods
    python -m benchmarks.search --variants mine.yaml --seeds 100 101 --tasks 5 --images 100 --out mine.csv

A fifth of each class's training images, sampled by seed, is the validation part. It replaces the test split, which is
never used. The best setting of a method is the one with the highest Avg over the seeds. The table is written to
.gift/benchmarks/search.csv, the best settings to search_best.yaml beside it, which compare.py and curve.py take as
--variants. Results are kept in .gift/validation and reused, so a variant that is added later runs alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.experiment import Experiment, Run, choose_methods, run_all
from benchmarks.options import parser_of, read_choices, run_script
from benchmarks.variants import Variant
from gift_core.driving.searches import hold_out
from gift_core.errors import UserError, lookup
from gift_core.layout import Layout
from gift_core.method.metrics import ZERO_SHOT
from stages.ingest import ingest

FIRST_SEED = 100  # smaller seeds are those of the comparison
METRICS = ["transfer", "avg", "last", "forgetting", "own"]


def main() -> None:
    """Runs every setting with every seed, and prints the metrics."""
    parser = parser_of(__doc__, seeds=(FIRST_SEED,), work=".gift/validation", out=".gift/benchmarks/search.csv")
    parser.set_defaults(variants=Path("benchmarks/search.yaml"))
    parser.add_argument("--tasks", type=int, default=3, help="number of tasks, from the start of the sequence")
    parser.add_argument("--images", type=int, help="synthetic images per task (default: as in the preset)")
    parser.add_argument("--iterations", type=int, help="per task; the warm-up keeps its share of them")
    choices = parser.parse_args()
    wrong = [seed for seed in choices.seeds if seed < FIRST_SEED]
    if wrong:
        raise UserError(f"--seeds {wrong[0]}: seeds below {FIRST_SEED} are for comparisons. Use {FIRST_SEED} or more.")
    experiment, variants = searched(choices)
    runs = [Run.of(experiment, choices.work, seed=seed) for seed in choices.seeds]
    for run in runs:
        for step in run.config.sequence:
            write_validation(run, step.task)
    run_all(runs, workers=choices.workers)
    table = pd.concat([metrics_of(run, variants) for run in runs]).round(5)
    table.to_csv(choices.out, index=False)
    means = table.groupby(["method", "variant", "setting"], sort=False, as_index=False)[METRICS].mean()
    groups = {method: rows.sort_values("avg", ascending=False) for method, rows in means.groupby("method", sort=False)}
    print(pd.concat(groups.values()).round(2).to_string(index=False))
    best = {method: variants[rows["variant"].iloc[0]] for method, rows in groups.items() if method != ZERO_SHOT}
    rows = {method: {"base": variant.base, **variant.changes} for method, variant in best.items()}
    text = yaml.safe_dump(rows, sort_keys=False, default_flow_style=None, width=200)
    choices.out.with_name(f"{choices.out.stem}_best.yaml").write_text(text, encoding="utf-8")
    print(f"\nThe best settings:\n\n{text}")


def searched(choices: argparse.Namespace) -> tuple[Experiment, dict[str, Variant]]:
    """Returns the experiment with all settings of the chosen methods, and these settings by their names."""
    experiment, variants = read_choices(choices)
    methods = {variant.method: variant for variant in variants.values()}
    for name in choices.methods or ():
        lookup(methods, name, "--methods")
    chosen = {name: each for name, each in variants.items() if each.method in (choices.methods or methods)}
    experiment["experiment"] += "_validation"
    experiment["sequence"] = experiment["sequence"][: choices.tasks]
    if choices.images:
        experiment["prompts"]["images_per_task"] = choices.images
    if choices.iterations:
        training = experiment["training"]
        training["warmup_iterations"] = training["warmup_iterations"] * choices.iterations // training["iterations"]
        training["iterations"] = choices.iterations
    choose_methods(experiment, {name: variant.row for name, variant in chosen.items()})
    return experiment, chosen


def metrics_of(run: Run, variants: Mapping[str, Variant]) -> pd.DataFrame:
    """Returns one row per setting, in percent. own is the mean accuracy on the task just learned."""
    accuracies = run.accuracies()
    own = 100 * accuracies[accuracies.phase == "current"].groupby("method").top1.mean()
    rows = []
    for name, metrics in run.metrics().items():
        method, setting = (variants[name].method, variants[name].setting) if name in variants else (name, "")
        settings = {"method": method, "variant": name, "setting": setting, "seed": run.config.seed}
        rows.append(settings | metrics | {"own": own.get(name)})
    return pd.DataFrame(rows)


def write_validation(run: Run, task: str) -> None:
    """Writes the task with its training images only. A fifth of each class becomes the test split."""
    if run.layout.task(task).exists():
        return
    complete = Layout(run.root / "complete")
    ingest(task, params=run.params, root=complete.root)
    shard = run.config.ingest.images_per_shard
    hold_out(complete.task(task), run.layout.task(task), seed=run.config.seed, images_per_shard=shard)


if __name__ == "__main__":
    run_script(main)
