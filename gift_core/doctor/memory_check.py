"""Whether the device's memory holds what the experiment's learning and drawing take."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.config.experiment import TrainingConfig
from gift_core.config.generator import GeneratorConfig, GeneratorMemoryConfig
from gift_core.doctor.data import class_count
from gift_core.doctor.finding import Finding, Scene, gigabytes
from gift_core.doctor.memory import drawing_bytes, learning_bytes
from gift_core.doctor.models import cached_pipeline
from gift_core.doctor.sizes import read_model
from gift_core.doctor.weights_files import pipeline_parameters

if TYPE_CHECKING:
    import torch

# Parameters of pipelines that the presets name, for the estimate before they are fetched.
KNOWN_PIPELINES: dict[str, dict[str, int]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": {
        "unet": 859_520_964,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "safety_checker": 303_981_588,
    },
}
ASSUMED_CLASSES = 100  # of a task whose data are not there to be counted
MICRO_BATCHES = (64, 32, 16, 8, 4)
SAVERS = GeneratorMemoryConfig(vae_slicing=True, vae_tiling=False, offload="none", attention=None)


@dataclass(frozen=True)
class DeviceMemory:
    """A device by its name, and bytes of its memory."""

    name: str
    total: int
    free: int


def check_memory(scene: Scene) -> Iterator[Finding]:
    """Yields whether the device holds the largest step of learning, and the drawing of a batch of images."""
    from gift_core.clip.device import resolve_device

    device = resolve_device(scene.config.run.device)
    memory, dtype = memory_of(device), scene.config.generator.dtype
    yield check_learning(scene, memory)
    if all(scene.config.methods[name].replay.reads != "synthetic" for name in scene.config.run.methods):
        return
    yield check_drawing(scene, memory)
    if device.type == "cpu" and dtype != "float32":
        what = f"images are drawn in {dtype} (generator.dtype), which a CPU hardly does"
        yield Finding("device", "warn", what, "Use a GPU, or `dvc pull` images that were drawn elsewhere.")


def check_learning(scene: Scene, device: DeviceMemory) -> Finding:
    """Returns whether `device` holds the fine-tuning of the method and the task that need most."""
    architecture = read_model(scene)
    learning = [name for name in scene.config.run.methods if scene.config.methods[name].learns != "nothing"]
    if architecture is None or not learning:
        what = "no estimate: the model is no plain vision transformer, or nothing learns"
        return Finding("memory to learn", "info", what)
    classes, task = most_classes(scene)

    def need(training: TrainingConfig) -> int:
        return max(
            learning_bytes(
                architecture,
                scene.config.methods[name],
                training,
                precision=scene.config.model.precision,
                classes=classes,
            )
            for name in learning
        )

    training = scene.config.training
    what = f"{gigabytes(need(training))} for {classes} class prompts ({task})"
    choices = {
        f"training.micro_batch_size: {count}": need(training.model_copy(update={"micro_batch_size": count}))
        for count in MICRO_BATCHES
    }
    return judge_memory("memory to learn", what, need(training), device=device, choices=choices)


def check_drawing(scene: Scene, device: DeviceMemory) -> Finding:
    """Returns whether `device` holds the pipeline and a batch of images."""
    generator = scene.config.generator
    folder = cached_pipeline(scene)
    found = pipeline_parameters(folder) if folder is not None and folder.is_dir() else None
    parameters = found or KNOWN_PIPELINES.get(generator.pipeline)
    if not parameters:
        return Finding("memory to draw", "info", f"no estimate before {generator.pipeline} is on this machine")
    need = drawing_bytes(parameters, generator)
    what = f"{gigabytes(need)} for {generator.batch_size} images at once"
    choices = {name: drawing_bytes(parameters, other) for name, other in _leaner(generator).items()}
    return judge_memory("memory to draw", what, need, device=device, choices=choices)


def judge_memory(subject: str, what: str, need: int, *, device: DeviceMemory, choices: Mapping[str, int]) -> Finding:
    """Returns whether `need` bytes fit; if not, with the first of `choices` (setting -> bytes) that would."""
    if not device.total:
        return Finding(subject, "info", f"about {what}; how much {device.name} has is not known")
    found = f"about {what}; {device.name} has {gigabytes(device.total)}, {gigabytes(device.free)} free"
    if need <= device.free:
        return Finding(subject, "ok", found)
    fitting = next((name for name, bytes_needed in choices.items() if bytes_needed <= device.free), None)
    remedy = f"Write {fitting} (about {gigabytes(choices[fitting])})" if fitting else "Use a larger device"
    return Finding(subject, "warn" if need <= device.total else "fail", found, f"{remedy}: docs/memory.md.")


def memory_of(device: torch.device) -> DeviceMemory:
    """Returns the memory of a resolved device; the CPU's is the machine's."""
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return DeviceMemory(torch.cuda.get_device_name(device), total, free)
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return DeviceMemory("the Apple GPU", total, total - torch.mps.driver_allocated_memory())
    return DeviceMemory("the CPU", *_memory_of_machine())


def _memory_of_machine() -> tuple[int, int]:
    """Bytes in all, and free for a program that asks now (caches are given up); 0 and 0 where the system won't say."""
    table = Path("/proc/meminfo")
    if table.is_file():
        lines = dict(line.split(":") for line in table.read_text(encoding="utf-8").splitlines())
        total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        return total, free
    if not hasattr(os, "sysconf"):
        return 0, 0
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return total, total


def most_classes(scene: Scene) -> tuple[int, str]:
    """Returns the largest number of classes of a task in the sequence, and which; 100 where none can be counted."""
    counts = {
        step.task: class_count(step.task, scene.config.tasks[step.task], scene.root) for step in scene.config.sequence
    }
    known = {name: count for name, count in counts.items() if count is not None}
    if not known:
        return ASSUMED_CLASSES, "assumed"
    task = max(known, key=lambda name: known[name])
    return known[task], task


def _leaner(generator: GeneratorConfig) -> dict[str, GeneratorConfig]:
    """Settings that take less memory, the one that costs least time first."""
    sizes = [size for size in (4, 2, 1) if size < generator.batch_size]
    savers = {
        "generator.memory: {vae_slicing: true, ...}": SAVERS,
        "generator.memory: {vae_slicing: true, offload: model, ...}": SAVERS.model_copy(update={"offload": "model"}),
    }
    choices = {f"generator.batch_size: {size}": generator.model_copy(update={"batch_size": size}) for size in sizes}
    return choices | {name: generator.model_copy(update={"memory": memory}) for name, memory in savers.items()}
