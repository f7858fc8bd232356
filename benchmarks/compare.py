"""All methods over several seeds on the miniature benchmark, and the report that compares them: `make compare`.

    python benchmarks/compare.py                                      # presets/mini_compare.yaml, seeds 1 2 3
    python benchmarks/compare.py --seeds 1 --methods finetune gift    # two methods, one seed
    python benchmarks/compare.py --variants benchmarks/search_best.yaml    # each method at its own best setting

A seed changes the splits, prompts, images and batches. All methods of a seed share them. Results are kept in
.gift/compare and reused. The report is written to reports/comparison. --record also writes its table to a CSV file.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
from experiment import Run, run_all
from options import SEEDS, chosen_experiment, parser_of, run_script

from gift_core.errors import lookup
from gift_core.metrics import ZERO_SHOT
from gift_core.report.labels import COLUMN_TITLES, signed
from gift_core.untrusted import read_json_file
from stages.metrics import compare


def main() -> None:
    """Runs all seeds, then compares them."""
    parser = parser_of(__doc__, seeds=SEEDS, work=".gift/compare", out="reports/comparison")
    parser.add_argument("--against", default="gift", help="the method to compare with")
    parser.add_argument("--record", type=Path, default=None, help="a CSV file to write the table to")
    choices = parser.parse_args()
    started = time.monotonic()
    experiment = chosen_experiment(choices)
    lookup(dict.fromkeys([ZERO_SHOT, *experiment["methods"]]), choices.against, "--against")
    runs = [Run.of(experiment, choices.work, seed=seed) for seed in choices.seeds]
    run_all(runs, workers=choices.workers)
    print(f"{len(runs)} seeds, {len(runs[0].config.run.methods)} methods: {(time.monotonic() - started) / 60:.0f} min")
    compare([run.root for run in runs], out=choices.out, against=choices.against)
    print(f"\nPaired differences to {choices.against} and their 95% intervals, in points:\n")
    print(differences(read_json_file(choices.out / "comparison.json")).to_string())
    if choices.record:
        shutil.copyfile(choices.out / "comparison.csv", choices.record)


def differences(comparison: dict[str, Any]) -> pd.DataFrame:
    """Returns the differences of a comparison.json as texts, one row per method: +1.2 (−0.3 to +2.7)."""
    rows = {method: row["difference"] for method, row in comparison["methods"].items() if row["difference"]}
    return pd.DataFrame(
        {method: {COLUMN_TITLES[column]: _text(each) for column, each in row.items()} for method, row in rows.items()}
    ).T.fillna("")


def _text(difference: dict[str, Any]) -> str:
    interval = difference["interval_95"]
    return signed(difference["mean"]) + (f" ({signed(interval[0])} to {signed(interval[1])})" if interval else "")


if __name__ == "__main__":
    run_script(main)
