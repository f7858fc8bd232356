"""The README's table: every method of a preset over several seeds, mean and standard deviation.

    python benchmarks/effect.py                       # presets/mini.yaml, seeds 1 2 3, finetune and gift
    python benchmarks/effect.py --methods finetune gift gift_cd gift_cd_ita --seeds 1 2 3

A seed decides the tasks' images, the prompts, the drawn images and the order of the batches. Everything but the DVC
around it is what `dvc repro` runs. Work lies in .gift/effect and is not run again; rows go to benchmarks/effect.csv.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import pandas as pd
import torch
from experiment import Run, choose_methods, read_experiment

METRICS = ("transfer", "avg", "last", "forgetting")


def main() -> None:
    """Runs the seeds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", type=Path, default=Path("presets/mini.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", default=["finetune", "gift"])
    parser.add_argument("--work", type=Path, default=Path(".gift/effect"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/effect.csv"))
    choices = parser.parse_args()
    tables = [run_seed(choices.preset, seed, choices.methods, choices.work) for seed in choices.seeds]
    rows = pd.concat(tables, ignore_index=True)
    rows.round(3).to_csv(choices.out, index=False)
    print(f"{choices.preset}, {platform.machine()}, torch {torch.__version__}, seeds {choices.seeds}")
    print(summary(rows))


def run_seed(preset: Path, seed: int, methods: list[str], work: Path) -> pd.DataFrame:
    """Returns a row a method: seed, method, own (accuracy on a task just learned), the four metrics, in percent."""
    experiment = read_experiment(preset)
    experiment["seed"] = experiment["generator"]["seed"] = seed
    choose_methods(experiment, {name: experiment["methods"][name] for name in methods})
    started = time.monotonic()
    run = Run(experiment, work / preset.stem / f"seed-{seed}")
    run.prepare()
    run.learn()
    accuracies = run.accuracies()
    own = 100 * accuracies[accuracies.phase == "current"].groupby("method").top1.mean()
    print(f"seed {seed}: {time.monotonic() - started:.0f} s")
    metrics = run.metrics()
    return pd.DataFrame([{"seed": seed, "method": name, "own": own.get(name), **metrics[name]} for name in metrics])


def summary(rows: pd.DataFrame) -> str:
    """Returns a Markdown table: mean and standard deviation over the seeds."""
    grouped = rows.groupby("method", sort=False)
    lines = ["| | Transfer | Avg | Last | Forgetting | own task |", "|---|---|---|---|---|---|"]
    for method, own in grouped:
        cells = [f"{own[name].mean():.1f} ± {own[name].std():.1f}" for name in (*METRICS, "own")]
        lines.append(f"| {method} | {' | '.join(cells)} |".replace("nan ± nan", ""))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
