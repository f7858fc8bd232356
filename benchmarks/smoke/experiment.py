"""The params.yaml of the smoke run: presets/mtil_order_1.yaml with two tasks and little work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.experiment import Experiment, choose_methods, read_experiment, set_order
from benchmarks.smoke.sizes import Size
from gift_core.errors import lookup

PRESET = Path(__file__).resolve().parents[2] / "presets" / "mtil_order_1.yaml"
TASKS = ("aircraft", "mnist")  # JPEG files with lists of names, and an archive of gray images
METHODS = ("finetune", "gift")
MODEL, GENERATOR = "data/0_raw/models/random_clip", "data/0_raw/generators/random_diffusion"


def smoke_experiment(
    size: Size, methods: Sequence[str] = METHODS, *, images: int = 2, iterations: int = 2
) -> Experiment:
    """Returns the preset with random models, TASKS, two denoising steps, and little work for each task.

    All other settings, such as the vocabulary and the losses, are those of the preset.
    """
    experiment = read_experiment(PRESET)
    experiment["experiment"] = "smoke_full"
    experiment["model"] |= {"name": f"local-dir:{MODEL}", "pretrained": None}
    experiment["generator"] |= {
        "pipeline": GENERATOR, "revision": None, "dtype": "float32", "steps": 2, "batch_size": 1, "size": size.pixels,
        "scheduler": "DPMSolverMultistepScheduler",
    }  # fmt: skip
    experiment["prompts"] |= {"images_per_task": images}
    experiment["training"] |= {
        "iterations": iterations,
        "warmup_iterations": 1,
        "batch_size": 4,
        "replay_batch_size": 2,
    }
    experiment["evaluation"] |= {"batch_size": 32}
    experiment["tasks"] = {task: experiment["tasks"][task] | {"allow_partial": True} for task in TASKS}
    set_order(experiment, TASKS)
    choose_methods(
        experiment, {name: lookup(experiment["methods"], name, f"{PRESET.name}: methods") for name in methods}
    )
    return experiment
