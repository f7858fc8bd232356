"""The golden losses: twenty iterations of every method, with its row for presets/mini.yaml, to detect changes.

    python -m benchmarks.golden             # writes tests/golden/losses/<method>.jsonl, one row per iteration
    python -m benchmarks.golden --device cuda --out folder   # of a GPU, for tests/method/test_golden_losses.py

It runs the stages on the preset's first two tasks with its own rows, reduced by REDUCED. The first task is short. The
losses are those of the second task, where teachers differ, exemplars are kept and Fisher diagonals are accumulated. The
synthetic pairs are in tests/golden/losses/inputs, so that no loss depends on a diffusion model. Delete them to generate
new ones.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
import yaml

from benchmarks.experiment import Experiment, Run, choose_methods, read_experiment
from benchmarks.variants import merged
from gift_core.artifacts.model_folder import ENTROPY, LOSSES, read_losses, write_losses
from stages.finetune import finetune
from stages.teach import teach

GOLDEN = Path("tests/golden/losses")
INPUTS = GOLDEN / "inputs"
ITERATIONS = {"letters": 5, "textures": 20}  # of each task
# Of the preset's learning rates. With the full rates, rounding errors grow tenfold per iteration, and builds differ.
RATE_FACTOR = 0.2
DIGITS = 6

# Changes to the preset: less data, and no setting larger than the number of iterations.
REDUCED: Experiment = {
    "tasks": {task: {"train_images": 100, "test_images": 30} for task in ITERATIONS},
    "prompts": {"images_per_task": 24},
    "training": {"batch_size": 8, "replay_batch_size": 8, "warmup_iterations": 2},
    "methods": {
        "lwf_vr": {"replay": {"texts": {"count": 40}}},
        "icarl": {"replay": {"memory": 60}},
        "zscl": {"average": {"every": 2}},
        "gift_frozen_fisher": {"consolidation": {"iterations": 4}},
    },
}

Losses = dict[str, list[dict[str, float]]]  # by method


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", type=Path, default=Path("presets/mini.yaml"))
    parser.add_argument("--out", type=Path, default=GOLDEN)
    parser.add_argument("--device", default="cpu", help="cpu, which the recorded losses are from, or cuda")
    choices = parser.parse_args()
    torch.set_num_threads(1)
    write(golden_losses(choices.preset, device=choices.device), choices.out)


def write(losses: Losses, folder: Path) -> None:
    """Writes one file per method into `folder`, and removes those of other methods."""
    for file in folder.glob("*.jsonl"):
        file.unlink()
    for method, rows in losses.items():
        write_losses(folder / f"{method}.jsonl", rows)


def golden_losses(preset: Path, *, device: str) -> Losses:
    """Returns each training method's losses on the second task, in the preset's order, rounded to DIGITS digits."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = ITERATIONS
        run = reduced_run(preset, ITERATIONS[first], Path(folder), device)
        prepare(run)
        learn(run, first)
        run = reduced_run(preset, ITERATIONS[second], Path(folder), device)
        learn(run, second)
        return {name: rounded(read_losses(run.layout.model(name, second) / LOSSES)) for name in run.config.run.methods}


def reduced_run(preset: Path, iterations: int, root: Path, device: str) -> Run:
    """Returns the reduced preset as an experiment under `root`."""
    experiment = reduced(preset, iterations)
    experiment["run"]["device"] = device
    (root / "params.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
    return Run(root)


def reduced(preset: Path, iterations: int) -> Experiment:
    """Returns the preset with the tasks of ITERATIONS, `iterations` per task, and the methods that train.

    A release changes no training: its rows are those of other methods.
    """
    experiment = merged(read_experiment(preset), REDUCED, "REDUCED")
    experiment["sequence"] = [step for step in experiment["sequence"] if step["task"] in ITERATIONS]
    experiment["training"]["iterations"] = iterations
    rows = experiment["methods"]
    chosen = {name: row for name, row in rows.items() if row.get("learns") != "nothing" and "release" not in row}
    choose_methods(experiment, chosen)
    return experiment


def prepare(run: Run) -> None:
    """Runs the stages that all methods share, with the recorded pairs, or generates and records these."""
    recorded = {INPUTS / task: run.layout.shards(task) for task in ITERATIONS}
    for inputs, shards in recorded.items():
        if inputs.exists():
            shutil.copytree(inputs, shards)
    run.prepare()
    for inputs, shards in recorded.items():
        if not inputs.exists():
            shutil.copytree(shards, inputs)


def learn(run: Run, task: str) -> None:
    """Runs one step of the sequence for every method."""
    paths = {"params": run.params, "root": run.root}
    for method in run.config.run.methods:
        teach(method, task, **paths)
        finetune(method, task, learning_rate_factor=RATE_FACTOR, **paths)


def rounded(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Returns the rows with all numbers but the iteration rounded to DIGITS significant digits.

    The entropies of the teacher are left out: the losses from which they can be subtracted depend on the same features.
    """
    return [
        {name: float(f"{value:.{DIGITS}g}") for name, value in row.items() if not name.endswith(ENTROPY)}
        | {"iteration": row["iteration"]}
        for row in rows
    ]


if __name__ == "__main__":
    main()
