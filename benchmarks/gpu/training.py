"""Training iterations per second of finetune and gift in each precision, measured on the stage finetune."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.experiment import Experiment, Run, choose_methods, read_experiment
from benchmarks.gpu.generation import Row
from benchmarks.gpu.meter import Taken, taken_by
from benchmarks.gpu.noise import write_noise_pairs, write_noise_task
from benchmarks.gpu.plan import Plan
from benchmarks.smoke.experiment import METHODS, PRESET
from benchmarks.smoke.sizes import Size
from stages.finetune import finetune
from stages.teach import teach

TASK = "aircraft"  # the first task of the preset, here with noise as images
BATCHES = 8  # number of different batches of images and of pairs


def training_rows(model: Path, size: Size, plan: Plan, *, device: str, root: Path) -> Iterator[Row]:
    """Yields one row per precision and method. `root`: an empty folder for the runs."""
    experiment = experiment_of(model, plan, device=device)
    run = written(experiment, root, iterations=plan.few_iterations)
    write_noise_task(run.layout.task(TASK), images=BATCHES * plan.images)
    write_noise_pairs(run.layout.shards(TASK), count=BATCHES * plan.images, pixels=size.pixels)
    run.prepare()
    run.layout.prompts(TASK).unlink(missing_ok=True)  # the pairs are noise, and not of these prompts
    for precision in plan.precisions:
        experiment["model"]["precision"] = precision
        run = written(experiment, root, iterations=plan.few_iterations)
        teach("gift", TASK, params=run.params, root=root)
        for method in METHODS:
            _, few, many = (trained(experiment, root, method, count, device) for count in lengths(plan))
            per_second = (plan.many_iterations - plan.few_iterations) / (many.seconds - few.seconds)
            yield f"iterations of {method}", precision, plan.images, per_second, many.peak_gib


def lengths(plan: Plan) -> tuple[int, int, int]:
    """Returns the iterations of three training runs: one to warm up, and two whose difference is used."""
    return plan.few_iterations, plan.few_iterations, plan.many_iterations


def trained(experiment: Experiment, root: Path, method: str, iterations: int, device: str) -> Taken:
    """Returns what the stage finetune takes with this number of iterations."""
    run = written(experiment, root, iterations=iterations)
    return taken_by(lambda: finetune(method, TASK, params=run.params, root=root), device)


def written(experiment: Experiment, root: Path, *, iterations: int) -> Run:
    """Returns the experiment under `root` with this number of training iterations."""
    experiment["training"] |= {"iterations": iterations, "warmup_iterations": 0}
    (root / "params.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
    return Run(root)


def experiment_of(model: Path, plan: Plan, *, device: str) -> Experiment:
    """Returns the preset with only its first task, starting from the random model."""
    experiment = read_experiment(PRESET)
    experiment["model"] |= {"name": f"local-dir:{model}", "pretrained": None}
    experiment["prompts"]["images_per_task"] = BATCHES * plan.images
    experiment["training"] |= {"batch_size": plan.images, "replay_batch_size": plan.images}
    experiment["tasks"] = {TASK: experiment["tasks"][TASK]}
    experiment["sequence"] = [row for row in experiment["sequence"] if row["task"] == TASK]
    experiment["run"]["device"] = device
    choose_methods(experiment, {name: experiment["methods"][name] for name in METHODS})
    return experiment
