"""All methods over several seeds on the miniature benchmark, and the report that compares them: `make compare`.

    python benchmarks/compare.py                                      # presets/mini_compare.yaml, seeds 1 2 3
    python benchmarks/compare.py --seeds 1 --methods finetune gift    # two methods, one seed

A seed changes the splits, prompts, images and batches. All methods of a seed share them. Results are kept in
.gift/compare and reused. The report is written to reports/comparison. --record also writes its table to a CSV file.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from experiment import Experiment, Run, choose_methods, default_workers, learn_all, prepare_all, read_experiment

from stages.compare import compare


def main() -> None:
    """Runs all seeds, then compares them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", type=Path, default=Path("presets/mini_compare.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", default=None, help="methods of the preset (default: all)")
    parser.add_argument(
        "--workers", type=int, default=default_workers(), help="number of processes, with one thread each"
    )
    parser.add_argument("--work", type=Path, default=Path(".gift/compare"))
    parser.add_argument("--out", type=Path, default=Path("reports/comparison"))
    parser.add_argument("--against", default="gift", help="the method to compare with")
    parser.add_argument("--record", type=Path, default=None, help="a CSV file to write the table to")
    choices = parser.parse_args()
    started = time.monotonic()
    runs = [run_of(choices.preset, seed, choices.methods, choices.work) for seed in choices.seeds]
    prepare_all(runs, workers=choices.workers)
    learn_all(runs, workers=choices.workers)
    print(f"{len(runs)} seeds, {len(runs[0].config.run.methods)} methods: {(time.monotonic() - started) / 60:.0f} min")
    compare([run.root for run in runs], out=choices.out, against=choices.against)
    if choices.record:
        shutil.copyfile(choices.out / "comparison.csv", choices.record)


def run_of(preset: Path, seed: int, methods: list[str] | None, work: Path) -> Run:
    """Returns the run of one seed."""
    experiment = seeded(read_experiment(preset), seed)
    chosen = methods or experiment["run"]["methods"]
    choose_methods(experiment, {name: experiment["methods"][name] for name in chosen})
    return Run.of(experiment, work / preset.stem / f"seed-{seed}")


def seeded(experiment: Experiment, seed: int) -> Experiment:
    """Returns the experiment with `seed` for everything, including the images."""
    return experiment | {"seed": seed, "generator": experiment["generator"] | {"seed": seed}}


if __name__ == "__main__":
    main()
