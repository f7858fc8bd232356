"""Random weights for the models of presets/laptop.yaml, in a hub cache; a run of little work.

Stages read the cache as after a download: the names of the preset, half-precision files, no network.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.experiment import Experiment, read_experiment, set_order
from benchmarks.smoke.data import make_data
from benchmarks.smoke.random_models import SEED, build_clip, parameter_count, write_diffusion
from benchmarks.smoke.sizes import FULL, TEXT_ENCODER
from gift_core.datasets.captions import base_vocabulary
from gift_core.doctor.inputs import known_models

PRESET = Path(__file__).resolve().parents[2] / "presets" / "laptop.yaml"
TASKS = ("eurosat", "oxford_pet")
PER_CLASS = 4  # images for training
TESTED = 8  # images of each task
NAMES, NAME_COUNT = "data/0_raw/prompts/names.txt", 50  # the base vocabulary: the first of the thousand of ImageNet
COMMIT = "0" * 40  # of a repository whose revision the preset does not name


# The preset's own models: their repositories and commits, and the published numbers of weights.
CLIP = "hf-hub:timm/vit_medium_patch32_clip_224.tinyclip_laion400m"
GENERATOR, REVISION = "IDKiro/sdxs-512-dreamshaper", "76f720262bb051da75666b22c902a78c8e16c763"
SIZE = replace(
    FULL,
    clip=known_models()[CLIP.removeprefix("hf-hub:")]["model_cfg"],
    unet=known_models()[GENERATOR]["unet"],
    autoencoder=known_models()[GENERATOR]["vae"],
    text_encoder=TEXT_ENCODER,
    parameters={"clip": 84_205_569, "unet": 315_746_244, "vae": 2_445_063, "text_encoder": 123_060_480},
    # Its single step is at the last noise level, timestep 999.
    scheduler={
        "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 1,
    },
    scheduler_class="DEISMultistepScheduler",
)  # fmt: skip


def laptop_experiment(*, images: int, iterations: int) -> Experiment:
    """Returns the preset with two of its tasks, no probe, few images and few names.

    All other settings, such as the models, the methods and the size of the images, are those of the preset.
    """
    experiment = read_experiment(PRESET)
    experiment["experiment"] = "smoke_laptop"
    experiment["prompts"] |= {"images_per_task": images, "base_vocabulary": NAMES}
    experiment["training"] |= {
        "iterations": iterations, "warmup_iterations": 1,
        "replay_batch_size": min(images, experiment["training"]["replay_batch_size"]),
    }  # fmt: skip
    experiment["evaluation"] |= {"max_images": TESTED, "probes": []}
    added = {"allow_partial": True, "shots": PER_CLASS}
    experiment["tasks"] = {task: experiment["tasks"][task] | added for task in TASKS}
    set_order(experiment, TASKS)
    return experiment


def make_laptop_data(root: Path) -> None:
    """Writes the raw data of the two tasks, and the names of the base vocabulary."""
    make_data(root, TASKS, PER_CLASS)
    names = root / NAMES
    names.parent.mkdir(parents=True, exist_ok=True)
    names.write_text("\n".join(base_vocabulary("imagenet")[:NAME_COUNT]) + "\n", encoding="utf-8")


def write_hub(hub: Path) -> None:
    """Adds the models to the hub cache `hub`, if they are not there."""
    _add(hub, CLIP.removeprefix("hf-hub:"), COMMIT, _write_clip)
    _add(hub, GENERATOR, REVISION, lambda folder: write_diffusion(folder, SIZE))


def _add(hub: Path, repository: str, commit: str, write: Callable[[Path], None]) -> None:
    """Adds what `write` writes as a repository whose branch main is `commit`."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    if not (folder / "snapshots" / commit).is_dir():
        (folder / "snapshots").mkdir(parents=True, exist_ok=True)
        write(folder / "snapshots" / commit)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit, encoding="utf-8")


def _write_clip(folder: Path) -> None:
    """Writes a repository as timm publishes it: half-precision weights, and open_clip's configuration."""
    import torch
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    model = build_clip(SIZE)
    found, expected = parameter_count(model), SIZE.parameters["clip"]
    assert found == expected, f"{folder}: {found:,} parameters, the published one has {expected:,}"
    preprocess = {"mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD}
    folder.mkdir()
    text = json.dumps({"model_cfg": dict(SIZE.clip), "preprocess_cfg": preprocess}, indent=4)
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")
    weights = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
