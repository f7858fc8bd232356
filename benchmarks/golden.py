"""The golden losses: twenty steps of every method of presets/mini.yaml, by which a change of its numbers is seen.

    python benchmarks/golden.py             # writes tests/golden/losses/<method>.jsonl, a row a step
    python benchmarks/golden.py --disturb   # instead prints how far rounding noise moves the losses

The stages themselves run, on the preset's first two tasks and its own rows, cut as CUT says. The first task is short;
the losses are the second's: by then teachers differ, exemplars are kept and Fisher diagonals added up. The synthetic
pairs lie in tests/golden/losses/inputs, so that no loss hangs on a diffusion model; delete them to draw anew.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from experiment import Experiment, Run, choose_methods, read_experiment
from safetensors.torch import load_file, save_file

from gift_core.artifacts.losses import read_losses, write_losses
from gift_core.artifacts.models import WEIGHTS
from gift_core.clip.saving import LOSSES
from stages.finetune import finetune
from stages.teach import teach

GOLDEN = Path("tests/golden/losses")
INPUTS = GOLDEN / "inputs"
STEPS = {"letters": 5, "textures": 20}  # the tasks and how long each is learned
# of the preset's rates: at the whole ones a rounding error grows tenfold a step, and no other build would come near
RATE_FACTOR = 0.2
DIGITS = 6

# What differs from the preset: it is smaller, and no number is left that so few steps would never reach.
CUT: Experiment = {
    "tasks": {task: {"train_images": 100, "test_images": 30} for task in STEPS},
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
    """Writes the files, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", type=Path, default=Path("presets/mini.yaml"))
    parser.add_argument("--out", type=Path, default=GOLDEN)
    parser.add_argument("--disturb", action="store_true")
    choices = parser.parse_args()
    torch.set_num_threads(1)
    if choices.disturb:
        print(sensitivity(choices.preset).to_string(float_format="{:.0e}".format))
    else:
        write(golden_losses(choices.preset), choices.out)


def write(losses: Losses, folder: Path) -> None:
    """Writes a file a method into `folder`, and removes those of methods that are no more."""
    for file in folder.glob("*.jsonl"):
        file.unlink()
    for method, rows in losses.items():
        write_losses(folder / f"{method}.jsonl", rows)


def golden_losses(preset: Path, disturb_model: Callable[[Path], None] = lambda folder: None) -> Losses:
    """Returns each learning method's losses on the second task, in the preset's order, rounded to DIGITS digits.

    `disturb_model` may change the folder of the pre-trained model before anything is learned.
    """
    with tempfile.TemporaryDirectory() as folder:
        first, second = STEPS
        run = cut_run(preset, STEPS[first], Path(folder))
        prepare(run)
        disturb_model(run.layout.pretrained())
        learn(run, first)
        run = cut_run(preset, STEPS[second], Path(folder))
        learn(run, second)
        return {name: rounded(read_losses(run.layout.model(name, second) / LOSSES)) for name in run.config.run.methods}


def cut_run(preset: Path, steps: int, root: Path) -> Run:
    """Returns the cut preset as an experiment under `root`."""
    (root / "params.yaml").write_text(yaml.safe_dump(cut(preset, steps), sort_keys=False), encoding="utf-8")
    return Run(root)


def cut(preset: Path, steps: int) -> Experiment:
    """Returns the preset cut to the tasks of STEPS, to `steps` training steps, and to the methods that learn."""
    experiment = merged(read_experiment(preset), CUT)
    experiment["sequence"] = [step for step in experiment["sequence"] if step["task"] in STEPS]
    experiment["training"]["iterations"] = steps
    rows = experiment["methods"]
    choose_methods(experiment, {name: row for name, row in rows.items() if row.get("learns") != "nothing"})
    return experiment


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `values` with `changes`, which name only keys that are there, at any depth."""
    return {
        key: merged(value, changes[key]) if isinstance(changes.get(key), dict) else changes.get(key, value)
        for key, value in values.items()
    }


def prepare(run: Run) -> None:
    """Everything that the methods share, with the kept pairs; where there are none, they are drawn and kept."""
    kept = {INPUTS / task: run.layout.shards(task) for task in STEPS}
    for inputs, shards in kept.items():
        if inputs.exists():
            shutil.copytree(inputs, shards)
    run.prepare()
    for inputs, shards in kept.items():
        if not inputs.exists():
            shutil.copytree(shards, inputs)


def learn(run: Run, task: str) -> None:
    """One step of the sequence, of every method."""
    place = {"params": run.params, "root": run.root}
    for method in run.config.run.methods:
        if run.config.methods[method].replay.reads != "none":
            teach(method, task, **place)
        finetune(method, task, learning_rate_factor=RATE_FACTOR, **place)


def rounded(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Returns the rows with every number but the step cut to DIGITS significant digits."""
    return [{name: float(f"{value:.{DIGITS}g}") for name, value in row.items()} | {"step": row["step"]} for row in rows]


def sensitivity(preset: Path) -> pd.DataFrame:
    """Returns how far each column of each method moves at most, over all steps, under each of DISTURBANCES."""
    plain = golden_losses(preset)
    tables = {}
    for name, disturbance in DISTURBANCES.items():
        with disturbance() as disturb_model:
            tables[name] = deviations(golden_losses(preset, disturb_model), plain)
    return pd.concat(tables, axis=1)


def deviations(found: Losses, expected: Losses) -> pd.DataFrame:
    """Returns a row a method: of the task loss, all replay terms and the anchor, the largest relative difference."""
    return pd.DataFrame({name: _deviations(found[name], rows) for name, rows in expected.items()}).T


def _deviations(found: list[dict[str, float]], expected: list[dict[str, float]]) -> dict[str, float]:
    moved = (pd.DataFrame(found) - pd.DataFrame(expected)).abs() / pd.DataFrame(expected).abs().clip(lower=1e-4)
    largest = moved.drop(columns=["step", "learning_rate", "total"]).max()
    terms = largest.drop(["task", "anchor"])
    return {"task": largest["task"], "terms": terms.max() if len(terms) else 0.0, "anchor": largest["anchor"]}


Disturbance = Iterator[Callable[[Path], None]]


@contextlib.contextmanager
def without_onednn() -> Disturbance:
    """Convolutions and products by other kernels, as another build or machine would choose them."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield lambda folder: None


@contextlib.contextmanager
def shaken_weights() -> Disturbance:
    """Every start weight is multiplied by 1 + 1e-6 times a normal draw: ten times float32's rounding."""
    yield shake


def shake(folder: Path) -> None:
    """Shakes the weights of the model in `folder`."""
    generator = torch.Generator().manual_seed(0)
    weights = load_file(folder / WEIGHTS)
    noise = {name: torch.randn(value.shape, generator=generator) for name, value in weights.items()}
    save_file({name: value * (1 + 1e-6 * noise[name]) for name, value in weights.items()}, folder / WEIGHTS)


DISTURBANCES = {"without oneDNN": without_onednn, "shaken weights": shaken_weights}


if __name__ == "__main__":
    main()
