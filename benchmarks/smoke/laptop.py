"""Random weights for the models of presets/laptop.yaml and their alternatives, in a hub cache; a run of little work.

Stages read the cache as after a download: the names of the preset, half-precision files, no network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.experiment import Experiment, read_experiment, set_order
from benchmarks.smoke.data import make_data
from benchmarks.smoke.random_models import SEED, build_clip, parameter_count, write_diffusion
from benchmarks.smoke.sizes import FULL, SCHEDULER, Settings, Size
from gift_core.datasets.captions import base_vocabulary
from gift_core.doctor.operations import AUTOENCODER, TEXT_ENCODER, UNET
from gift_core.doctor.operations import CLIPS as CLIP_CONFIGS
from gift_core.doctor.operations import SDXS as SDXS_PARTS

PRESET = Path(__file__).resolve().parents[2] / "presets" / "laptop.yaml"
TASKS = ("eurosat", "oxford_pet")
PER_CLASS = 4  # images for training
TESTED = 8  # images of each task
NAMES, NAME_COUNT = "data/0_raw/prompts/names.txt", 50  # the base vocabulary: the first of the thousand of ImageNet
COMMIT = "0" * 40  # of a repository whose revision the preset does not name


@dataclass(frozen=True)
class HubClip:
    """A published CLIP: its names in params.yaml, its repository, open_clip's model_cfg, and its number of weights."""

    name: str
    repository: str
    config: Settings
    parameters: int
    pretrained: str | None = None


@dataclass(frozen=True)
class HubGenerator:
    """A published pipeline: its repository and commit, its parts, and its settings in params.yaml."""

    repository: str
    revision: str
    size: Size
    settings: Mapping[str, Any] = field(default_factory=dict)


TINYCLIP = "hf-hub:timm/vit_medium_patch32_clip_224.tinyclip_laion400m"


def _timm(model: str, parameters: int, **towers: Mapping[str, int]) -> HubClip:
    """A TinyCLIP. Its configuration is that of microsoft/Cream, TinyCLIP/src/open_clip/model_configs."""
    preset = CLIP_CONFIGS[TINYCLIP]
    config = {**preset, **{name: {**preset[name], **changes} for name, changes in towers.items()}}
    return HubClip(f"hf-hub:timm/{model}", f"timm/{model}", config, parameters)


def _shipped(architecture: str) -> Settings:
    import open_clip

    config: Settings = open_clip.get_model_config(architecture)
    return config


CLIPS: Mapping[str, Callable[[], HubClip]] = {
    "tinyclip_40m": lambda: _timm("vit_medium_patch32_clip_224.tinyclip_laion400m", 84_205_569),
    "tinyclip_61m": lambda: _timm(
        "vit_betwixt_patch32_clip_224.tinyclip_laion400m",
        115_382_145,
        vision_cfg={"width": 640},
        text_cfg={"layers": 9},
    ),
    "tinyclip_8m": lambda: _timm(
        "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m",
        23_446_017,
        vision_cfg={"width": 256, "layers": 10, "patch_size": 16},
        text_cfg={"width": 256, "heads": 4, "layers": 3},
    ),
    "vit_b_32": lambda: HubClip(
        "ViT-B-32", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", _shipped("ViT-B-32"), 151_277_313, "laion2b_s34b_b79k"
    ),
    "mobileclip2_s0": lambda: HubClip(
        "MobileCLIP2-S0", "timm/MobileCLIP2-S0-OpenCLIP", _shipped("MobileCLIP2-S0"), 74_835_073, "dfndr2b"
    ),
}

_EULER: Settings = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon", "timestep_spacing": "trailing", "steps_offset": 1,
}  # fmt: skip
_LCM: Settings = {
    **{key: value for key, value in SCHEDULER.items() if key != "skip_prk_steps"},
    "original_inference_steps": 50, "timestep_scaling": 10.0, "timestep_spacing": "leading", "clip_sample": False,
}  # fmt: skip


def _size(parts: Mapping[str, Settings], parameters: tuple[int, int, int], **changes: Any) -> Size:
    counts = dict(zip(("unet", "vae", "text_encoder"), parameters, strict=True))
    models = {"unet": parts["unet"], "autoencoder": parts["vae"], "text_encoder": parts["text_encoder"]}
    return replace(FULL, **models, parameters=counts, **changes)


SDXS = _size(
    SDXS_PARTS,
    (315_746_244, 2_445_063, 123_060_480),
    autoencoder_class="AutoencoderTiny",
    # Its single step is at the last noise level, timestep 999.
    scheduler={**_EULER, "timestep_spacing": "linspace"},
    scheduler_class="DEISMultistepScheduler",
)
SD_TURBO = _size(
    {  # the parts of Stable Diffusion 2.1
        "unet": {
            **UNET, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
        },
        "vae": {**AUTOENCODER, "sample_size": 768},
        "text_encoder": {
            **TEXT_ENCODER, "hidden_size": 1024, "intermediate_size": 4096, "projection_dim": 512,
            "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu",
        },
    },
    (865_910_724, 83_653_863, 340_387_840),
    scheduler=_EULER,
    scheduler_class="EulerDiscreteScheduler",
)  # fmt: skip
LCM = _size(
    {  # guidance is an input of the UNet
        "unet": {**UNET, "sample_size": 96, "time_cond_proj_dim": 256},
        "vae": {**AUTOENCODER, "sample_size": 768},
        "text_encoder": TEXT_ENCODER,
    },
    (859_602_884, 83_653_863, 123_060_480),
    scheduler=_LCM,
    scheduler_class="LCMScheduler",
    pipeline_class="LatentConsistencyModelPipeline",
)
GENERATORS: Mapping[str, HubGenerator] = {
    "sdxs": HubGenerator("IDKiro/sdxs-512-dreamshaper", "76f720262bb051da75666b22c902a78c8e16c763", SDXS),
    "sd_turbo": HubGenerator("stabilityai/sd-turbo", "b261bac6fd2cf515557d5d0707481eafa0485ec2", SD_TURBO),
    "lcm": HubGenerator(
        "SimianLuo/LCM_Dreamshaper_v7", "a85df6a8bd976cdd08b4fd8f3b73f229c9e54df5", LCM, {"steps": 4, "guidance": 8.0}
    ),
}


def laptop_experiment(clip: HubClip, generator: HubGenerator, *, images: int, iterations: int) -> Experiment:
    """Returns the preset with two of its tasks, few images and names, and other models if they are not its own.

    All other settings, such as the methods and the size of the images, are those of the preset.
    """
    experiment = read_experiment(PRESET)
    experiment["experiment"] = "smoke_laptop"
    experiment["model"] |= {"name": clip.name, "pretrained": clip.pretrained}
    experiment["generator"] |= {
        "pipeline": generator.repository, "revision": generator.revision, **generator.settings,
    }  # fmt: skip
    experiment["prompts"] |= {"images_per_task": images, "base_vocabulary": NAMES}
    experiment["training"] |= {
        "iterations": iterations, "warmup_iterations": 1,
        "replay_batch_size": min(images, experiment["training"]["replay_batch_size"]),
    }  # fmt: skip
    experiment["evaluation"] |= {"max_images": TESTED}
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


def write_hub(hub: Path, clip: HubClip | None, generator: HubGenerator | None) -> Size:
    """Adds the models to the hub cache `hub`, if they are not there. Returns their configurations."""
    size = FULL if generator is None else generator.size
    if clip is not None:
        size = replace(size, clip=clip.config, parameters={**size.parameters, "clip": clip.parameters})
        _add(hub, clip.repository, COMMIT, lambda folder: _write_clip(folder, size))
    if generator is not None:
        _add(hub, generator.repository, generator.revision, lambda folder: write_diffusion(folder, size))
    return size


def _add(hub: Path, repository: str, commit: str, write: Callable[[Path], None]) -> None:
    """Adds what `write` writes as a repository whose branch main is `commit`."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    if not (folder / "snapshots" / commit).is_dir():
        (folder / "snapshots").mkdir(parents=True, exist_ok=True)
        write(folder / "snapshots" / commit)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit, encoding="utf-8")


def _write_clip(folder: Path, size: Size) -> None:
    """Writes a repository as timm publishes it: half-precision weights, and open_clip's configuration."""
    import torch
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    model = build_clip(size)
    found, expected = parameter_count(model), size.parameters["clip"]
    assert found == expected, f"{folder}: {found:,} parameters, the published one has {expected:,}"
    preprocess = {"mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD}
    folder.mkdir()
    text = json.dumps({"model_cfg": dict(size.clip), "preprocess_cfg": preprocess}, indent=4)
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")
    weights = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
