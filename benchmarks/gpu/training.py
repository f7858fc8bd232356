"""Training steps a second of finetune and gift, by precision, through the stages themselves."""

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

TASK = "aircraft"  # the preset's first; its images are noise here
BATCHES = 8  # of images, and of pairs: so many are decoded before they come again


def training_rows(model: Path, size: Size, plan: Plan, *, device: str, root: Path) -> Iterator[Row]:
    """Yields a row for every precision and method; `root` is an empty folder to work in."""
    experiment = experiment_of(model, plan, device=device)
    run = written(experiment, root, steps=plan.few_steps)
    write_noise_task(run.layout.task(TASK), images=BATCHES * plan.images)
    write_noise_pairs(run.layout.shards(TASK), count=BATCHES * plan.images, pixels=size.pixels)
    run.prepare()
    for precision in plan.precisions:
        experiment["model"]["precision"] = precision
        run = written(experiment, root, steps=plan.few_steps)
        teach("gift", TASK, params=run.params, root=root)
        for method in METHODS:
            _, few, many = (trained(experiment, root, method, steps, device) for steps in lengths(plan))
            per_second = (plan.many_steps - plan.few_steps) / (many.seconds - few.seconds)
            yield f"steps of {method}", precision, plan.images, per_second, many.peak_gib


def lengths(plan: Plan) -> tuple[int, int, int]:
    """Returns the lengths of three trainings: one in which the device warms up, and two whose difference counts."""
    return plan.few_steps, plan.few_steps, plan.many_steps


def trained(experiment: Experiment, root: Path, method: str, steps: int, device: str) -> Taken:
    """Returns what the stage finetune took with so many steps."""
    run = written(experiment, root, steps=steps)
    return taken_by(lambda: finetune(method, TASK, params=run.params, root=root), device)


def written(experiment: Experiment, root: Path, *, steps: int) -> Run:
    """Returns the experiment under `root`, with so many training steps."""
    experiment["training"] |= {"iterations": steps, "warmup_iterations": 0}
    (root / "params.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
    return Run(root)


def experiment_of(model: Path, plan: Plan, *, device: str) -> Experiment:
    """Returns the preset with its first task alone, learned from the random model."""
    experiment = read_experiment(PRESET)
    experiment["model"] |= {"name": f"local-dir:{model}", "pretrained": None}
    experiment["prompts"]["images_per_task"] = BATCHES * plan.images
    experiment["training"] |= {"batch_size": plan.images, "replay_batch_size": plan.images}
    experiment["tasks"] = {TASK: experiment["tasks"][TASK]}
    experiment["sequence"] = [row for row in experiment["sequence"] if row["task"] == TASK]
    experiment["run"]["device"] = device
    choose_methods(experiment, {name: experiment["methods"][name] for name in METHODS})
    return experiment
