"""What half precision changes in the result, seed by seed: `make bench-precision`.

    python -m benchmarks.precision --order letters textures zodiac    # three tasks, amp_bf16 beside fp32, seeds 1 2 3

Splits, prompts, images and batches of a seed are the same. Results are kept in .gift/precision and reused.
What half precision saves: benchmarks/memory.md.
"""

from __future__ import annotations

import pandas as pd

from benchmarks.experiment import Run, run_all
from benchmarks.options import SEEDS, chosen_experiment, parser_of, run_script
from gift_core.report.comparison.runs_by_seed import difference_of
from gift_core.report.labels import signed

METRICS = ("transfer", "avg", "last", "forgetting")
FULL = "fp32"


def main() -> None:
    """Runs every seed with every precision, writes the metrics to a table, and prints the paired differences."""
    parser = parser_of(__doc__, seeds=SEEDS, work=".gift/precision", out=".gift/benchmarks/precision.csv")
    parser.set_defaults(methods=["finetune", "gift"])
    parser.add_argument("--precision", default="amp_bf16", choices=["amp_bf16", "amp_fp16"])
    choices = parser.parse_args()
    experiment = chosen_experiment(choices)
    runs = []
    for precision in (FULL, choices.precision):
        changed = experiment | {"model": experiment["model"] | {"precision": precision}}
        runs += [Run.of(changed, choices.work, seed=seed) for seed in choices.seeds]
    run_all(runs, workers=choices.workers)
    rows = pd.DataFrame(
        {"method": method, "precision": run.config.model.precision, "seed": run.config.seed, **run.metrics()[method]}
        for method in experiment["methods"]
        for run in runs
    )
    rows.round(5).to_csv(choices.out, index=False)
    print(rows.groupby(["method", "precision"], sort=False)[list(METRICS)].agg(["mean", "std"]).round(1).to_string())
    print(f"\n{choices.precision} - {FULL}, seed by seed, and the 95% interval:\n")
    print(differences(rows, choices.precision).to_string())


def differences(rows: pd.DataFrame, precision: str) -> pd.DataFrame:
    """Returns the paired differences of every metric to fp32 as texts, a row for each method."""
    by_seed = rows.set_index(["method", "seed"])
    half, full = (by_seed[by_seed["precision"] == each] for each in (precision, FULL))
    return pd.DataFrame(
        {
            method: {metric: _text(half.loc[method, metric], full.loc[method, metric]) for metric in METRICS}
            for method in dict.fromkeys(rows["method"])
        }
    ).T


def _text(scores: pd.Series[float], others: pd.Series[float]) -> str:
    difference = difference_of(scores, others)
    if difference is None:
        return ""
    interval = "" if difference.low is None else f" ({signed(difference.low)} to {signed(difference.high)})"
    return signed(difference.mean) + interval


if __name__ == "__main__":
    run_script(main)
