"""`gift compare --seeds` for an experiment that no preset has: variants of methods, another order or protocol.

    python -m benchmarks.compare --variants .gift/benchmarks/search_best.yaml  # each method at its own best setting
    python -m benchmarks.compare --seeds 4 5 6 --order digits letters --methods finetune gift

The experiment is written to .gift/compare/params.yaml. A preset alone needs no script:
gift compare --params presets/mini_compare.yaml --seeds 1,2,3
"""

from __future__ import annotations

import yaml

from benchmarks.options import SEEDS, chosen_experiment, parser_of, run_script
from stages.commands.compare import compare


def main() -> None:
    """Writes the experiment, runs all seeds, and compares them."""
    parser = parser_of(__doc__, seeds=SEEDS, work=".gift/compare", out="reports/comparison")
    parser.add_argument("--against", default="gift", help="the method to compare with")
    choices = parser.parse_args()
    params = choices.work / "params.yaml"
    text = yaml.safe_dump(chosen_experiment(choices), sort_keys=False)
    params.parent.mkdir(parents=True, exist_ok=True)
    params.write_text(text, encoding="utf-8")
    seeds = "".join(f"{seed}," for seed in choices.seeds)  # 4, is a list of one
    compare(None, seeds, None, choices.out, choices.against, allow_missing=False, params=params)


if __name__ == "__main__":
    run_script(main)
