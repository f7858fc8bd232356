"""Estimates the peak memory of training and of image generation, and compares it with the device.

One formula each, with coefficients measured on a few models. docs/doctor.md says what the estimate ignores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from gift_core.config.experiment import TrainingConfig
from gift_core.config.generator import GeneratorConfig, GeneratorMemoryConfig
from gift_core.config.method_options import MethodConfig
from gift_core.config.tasks import has_captions
from gift_core.doctor.data_checks import class_count
from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.model_checks import (
    FILE,
    FOLDER,
    KNOWN_PIPELINES,
    cached_pipeline,
    count_numbers,
    count_parameters,
    model_config_of,
    pipeline_parameters,
)
from gift_core.errors import UserError
from gift_core.quantities import byte_size

if TYPE_CHECKING:
    import torch

MARGIN = 1.3  # the estimate times this exceeds every recorded peak (tests/doctor/test_memory_estimate.py)
CONTEXT = 600_000_000  # bytes of a CUDA context, before the first tensor
KEPT_PER_LAYER = 20  # numbers that autograd keeps per layer, token and unit of width (16 with GELU, 20 with QuickGELU)
TEXT_TOKENS = 32  # texts are cut to the longest of their batch; class prompts are shorter than this
PIXEL_NUMBERS, DENOISER_NUMBERS = 768, 320  # numbers per output pixel in the decoder and the UNet of Stable Diffusion
ASSUMED_CLASSES = 100  # of a task whose classes cannot be counted yet
MICRO_BATCHES = (64, 32, 16, 8, 4)
SLICED = GeneratorMemoryConfig(vae_slicing=True, vae_tiling=False, offload="none", attention=None)


def has_estimate(model_config: Mapping[str, Any]) -> bool:
    """Returns whether both encoders in the model_cfg of open_clip are plain transformers."""
    vision, text = model_config["vision_cfg"], model_config["text_cfg"]
    sizes = (vision.get(key) for key in ("layers", "width", "image_size", "patch_size"))
    foreign = {"timm_model_name", "hf_model_name"} & (set(vision) | set(text))
    return all(isinstance(size, int) for size in sizes) and not foreign


def training_bytes(
    model_config: Mapping[str, Any], method: MethodConfig, training: TrainingConfig, *, precision: str, classes: int
) -> int:
    """Returns the estimated peak of fine-tuning on a task with `classes` classes, without the margin.

    `model_config` is the model_cfg of open_clip, for which `has_estimate` is true.
    Weights take 4 bytes per parameter, and half-precision weights 2 more. For each parameter that is trained, gradients
    and the two moments of Adam take 12 bytes; the copies for consolidation, weight averaging and merging 4 bytes each.
    Adapters count as nothing, and a merge with them as a copy of the model. The activations of replay and task batch
    are never held at the same time, so the larger one counts. With `training.processes` it is the peak of each process.
    """
    half, checkpointing = precision != "fp32", training.gradient_checkpointing
    vision, text = model_config["vision_cfg"], {"width": 512, "layers": 12, **model_config["text_cfg"]}
    per_image = _activations(vision, (vision["image_size"] // vision["patch_size"]) ** 2 + 1, checkpointing)
    per_text = _activations(text, TEXT_TOKENS, checkpointing)
    parameters = count_parameters(model_config)
    copies = {"none": 0, "uniform": 1}.get(method.consolidation.kind, 2)  # the start weights, and their importances
    copies += (method.average is not None) + (method.merge is not None)
    batches = [(training.batch_size, classes), (training.replay_batch_size, training.replay_batch_size)]
    shares = [(-(-images // training.processes), -(-texts // training.processes)) for images, texts in batches]
    micro = training.micro_batch_size
    if micro is None:
        numbers = max(images * per_image + texts * per_text for images, texts in shares)
    else:  # encodes either images or texts
        numbers = max(max(min(images, micro) * per_image, min(texts, micro) * per_text) for images, texts in shares)
    trained = _count_trained(model_config, method)
    weights = parameters * (4 + (2 if half else 0)) + 4 * trained * (3 + copies)
    if method.trains is not None and method.trains.is_merged and method.merge is not None:
        weights += 4 * parameters
    return CONTEXT + weights + numbers * (2 if half else 4)


def _count_trained(model_config: Mapping[str, Any], method: MethodConfig) -> int:
    """Returns the number of parameters that the method trains, without those of adapters."""
    if method.trains is None:
        return count_parameters(model_config)
    if method.trains.is_merged:
        return 0
    from gift_core.clip.architectures import build_empty
    from gift_core.clip.model import Clip
    from gift_core.clip.trained import TRAINS

    clip = Clip(build_empty(model_config), lambda texts: NotImplemented, {}, "fp32")
    with TRAINS[method.trains.kind](clip, **method.trains.keywords()) as trained:
        return trained.size


def _activations(encoder: Mapping[str, Any], tokens: int, checkpointing: bool) -> int:
    """Returns how many numbers autograd keeps of one item: with checkpointing one layer, and the input of each."""
    layers, width = int(encoder["layers"]), int(encoder["width"])
    return (layers + KEPT_PER_LAYER if checkpointing else layers * KEPT_PER_LAYER) * tokens * width


def generation_bytes(parameters: Mapping[str, int], generator: GeneratorConfig) -> int:
    """Returns the estimated peak of generating a batch, without the margin. `parameters` are those of each part.

    All weights, or those of the largest part with offloading; and the larger one of the decoder (which decodes one
    image at a time with vae_slicing) and the denoiser, as measured on the parts of Stable Diffusion 1.5.
    """
    memory, count = generator.memory, generator.batch_size
    offload, sliced = memory is not None and memory.offload != "none", memory is not None and memory.vae_slicing
    weights = max(parameters.values()) if offload else sum(parameters.values())
    per_pixel = max(PIXEL_NUMBERS * (1 if sliced else count), DENOISER_NUMBERS * count)
    return CONTEXT + (4 if generator.dtype == "float32" else 2) * (weights + generator.size**2 * per_pixel)


def embedding_and_parameters(project: Project) -> tuple[int, int]:
    """Returns the embedding size and the number of parameters of the model. 0 for what is not known yet."""
    config = model_config_of(project)
    if config is not None and "hf_model_name" not in config["text_cfg"]:  # that one needs a file from the hub
        return int(config["embed_dim"]), count_parameters(config)
    name = project.config.model.name
    weights: list[Path] = []
    if name.startswith(FOLDER):
        weights = sorted((project.root / name.removeprefix(FOLDER)).glob("*.safetensors"))
    elif name.startswith(FILE) and name.endswith(".safetensors"):
        weights = [project.root / name.removeprefix(FILE)]
    return 0 if config is None else int(config["embed_dim"]), sum(map(count_numbers, weights))


@dataclass(frozen=True)
class DeviceMemory:
    """The name of a device, and its memory in bytes. 0 means that it is not known."""

    name: str
    total: int
    free: int


def check_memory(project: Project) -> Iterator[Finding]:
    """Yields whether training and image generation fit the device."""
    from gift_core.clip.device import require_devices, resolve_device

    device = resolve_device(project.config.run.device)
    memory, dtype = memory_of(device), project.config.generator.dtype
    processes = project.config.training.processes
    if device.type == "cpu" and processes > 1:
        each = DeviceMemory(f"each of {processes} processes", memory.total // processes, memory.free // processes)
        yield check_training(project, each)
    else:
        yield check_training(project, memory)
    try:
        require_devices(device, processes)
    except UserError as error:
        yield Finding("training.processes", "fail", str(error))
    if all(project.config.methods[name].replay.reads != "synthetic" for name in project.config.run.methods):
        return
    yield check_generation(project, memory)
    if device.type == "cpu" and dtype != "float32":
        what = f"generator.dtype is {dtype}, which is very slow on a CPU"
        yield Finding("device", "warn", what, "Use a GPU, or `dvc pull` images that were generated elsewhere.")


def check_training(project: Project, device: DeviceMemory) -> Finding:
    """Returns whether the most demanding method fits `device` on the task with the most classes."""
    config, precision = model_config_of(project), project.config.model.precision
    methods = [project.config.methods[name] for name in project.config.run.methods]
    methods = [method for method in methods if method.learns != "nothing"]
    if config is None or not has_estimate(config) or not methods:
        what = "no estimate: the model is not a plain vision transformer, or no method trains it"
        return Finding("training memory", "info", what)
    classes, what = most_classes(project)

    def estimate(**changes: int) -> int:
        training = project.config.training.model_copy(update=changes)
        return max(training_bytes(config, each, training, precision=precision, classes=classes) for each in methods)

    choices = {f"training.micro_batch_size: {count}": estimate(micro_batch_size=count) for count in MICRO_BATCHES}
    return memory_finding("training memory", what, estimate(), device=device, choices=choices)


def check_generation(project: Project, device: DeviceMemory) -> Finding:
    """Returns whether the pipeline and a batch of images fit `device`."""
    generator = project.config.generator
    folder = cached_pipeline(project)
    found = pipeline_parameters(folder) if folder is not None and folder.is_dir() else None
    parameters = found or KNOWN_PIPELINES.get(generator.pipeline)
    if not parameters:
        return Finding("generation memory", "info", f"no estimate before {generator.pipeline} is on this machine")
    changes: dict[str, dict[str, Any]] = {
        f"generator.batch_size: {size}": {"batch_size": size} for size in (4, 2, 1) if size < generator.batch_size
    }
    offloaded = SLICED.model_copy(update={"offload": "model"})
    changes["generator.memory: {vae_slicing: true, ...}"] = {"memory": SLICED}
    changes["generator.memory: {vae_slicing: true, offload: model, ...}"] = {"memory": offloaded}
    choices = {
        name: generation_bytes(parameters, generator.model_copy(update=change)) for name, change in changes.items()
    }
    what = f"{generator.batch_size} images at once"
    needed = generation_bytes(parameters, generator)
    return memory_finding("generation memory", what, needed, device=device, choices=choices)


def memory_finding(
    subject: str, what: str, estimate: int, *, device: DeviceMemory, choices: Mapping[str, int]
) -> Finding:
    """Returns whether `estimate` bytes fit with the margin. If not, suggests the first of `choices` that does.

    `choices` maps settings to their estimates.
    """
    need = MARGIN * estimate
    if not device.total:
        return Finding(subject, "info", f"up to {byte_size(need)} for {what}; the memory of {device.name} is not known")
    found = f"up to {byte_size(need)} for {what}; {device.name} has {byte_size(device.total)}, "
    found += f"{byte_size(device.free)} free"
    if need <= device.free:
        return Finding(subject, "ok", found)
    fitting = next((name for name, other in choices.items() if MARGIN * other <= device.free), None)
    remedy = f"Write {fitting} (up to {byte_size(MARGIN * choices[fitting])})" if fitting else "Use a larger device"
    return Finding(subject, "warn" if need <= device.total else "fail", found, f"{remedy}. See docs/memory.md.")


def memory_of(device: torch.device) -> DeviceMemory:
    """Returns the memory of a device. For the CPU it is that of the machine."""
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return DeviceMemory(torch.cuda.get_device_name(device), total, free)
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return DeviceMemory("the Apple GPU", total, total - torch.mps.driver_allocated_memory())
    memory = psutil.virtual_memory()
    return DeviceMemory("the CPU", memory.total, memory.available)


def most_classes(project: Project) -> tuple[int, str]:
    """Returns the largest number of classes in the sequence, and in words; 100 if none can be counted yet.

    A task of captions has one for each image of a batch.
    """
    known = [(ASSUMED_CLASSES, f"{ASSUMED_CLASSES} classes (assumed)")]
    for name in (step.task for step in project.config.sequence):
        task, batch = project.config.tasks[name], project.config.training.batch_size
        if has_captions(task):
            known.append((batch, f"{batch} captions ({name})"))
        elif count := class_count(name, task, project.root):
            known.append((count, f"{count} classes ({name})"))
    return max(known[1:] or known, key=lambda each: each[0])
