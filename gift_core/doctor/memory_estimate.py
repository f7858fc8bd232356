"""Estimates the peak memory of training and of image generation, and compares it with the device.

The bytes of the models are counted on torch's meta device. docs/doctor.md says what the estimate ignores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil

from gift_core.config.experiment import GeneratorConfig, GeneratorMemoryConfig, TrainingConfig
from gift_core.config.method_options import MethodConfig
from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.inputs import model_config_of
from gift_core.doctor.stage_work import GUIDED, TYPICAL, ClipCount, PipelineCount, clip_count, pipeline_count, task_size
from gift_core.errors import UserError
from gift_core.quantities import byte_size

if TYPE_CHECKING:
    import torch

MARGIN = 1.3  # the estimate times this exceeds every recorded peak (tests/doctor/test_memory_estimate.py)
CONTEXT = 600_000_000  # bytes of a CUDA context, before the first tensor
TEXT_TOKENS = 32  # texts are cut to the longest of their batch; class prompts are shorter than this
SLICED = GeneratorMemoryConfig(vae_slicing=True, vae_tiling=False, offload="none", attention=None)


def training_bytes(
    count: ClipCount, method: MethodConfig, training: TrainingConfig, *, trained: int, precision: str, texts: int
) -> int:
    """Returns the estimated peak of fine-tuning with `texts` texts beside the images of a task, without the margin.

    Weights take 4 bytes per parameter, and half-precision weights 2 more. For each of the `trained` parameters,
    gradients and the two moments of Adam take 12 bytes; the copies for consolidation, weight averaging and merging 4
    bytes each. Adapters count as nothing, and a merge with them as a copy of the model. The activations of replay and
    task batch are never held at the same time, so the larger one counts. With `training.processes` it is the peak of
    each process.
    """
    half, micro = precision != "fp32", training.micro_batch_size
    copies = method.consolidation.copies + (method.average is not None) + (method.merge is not None)
    weights = count.weights * (6 if half else 4) + 4 * trained * (3 + copies)
    if method.trains is not None and method.trains.is_merged and method.merge is not None:
        weights += 4 * count.weights
    kept = []
    for batch in ((training.batch_size, texts), (training.replay_batch_size, training.replay_batch_size)):
        images, others = (min(micro or items, -(-items // training.processes)) for items in batch)
        both = images * count.image_bytes, others * TEXT_TOKENS * count.token_bytes
        kept.append(max(both) if micro else sum(both))  # of a micro-batch either images or texts are encoded
    return int(CONTEXT + weights + max(kept) * (0.5 if half else 1))


def generation_bytes(count: PipelineCount, generator: GeneratorConfig) -> int:
    """Returns the estimated peak of generating a batch, without the margin.

    All weights, or those of the largest part with offloading; and the larger one of the decoder (which decodes one
    image at a time with vae_slicing) and the denoiser.
    """
    memory, images = generator.memory, generator.batch_size
    offload, sliced = memory is not None and memory.offload != "none", memory is not None and memory.vae_slicing
    weights = (max if offload else sum)(count.parameters.values())
    denoised = (GUIDED if generator.guidance > 1 else 1) * images
    peak = max(count.decoder_bytes * (1 if sliced else images), count.denoiser_bytes * denoised)
    return int(CONTEXT + (4 if generator.dtype == "float32" else 2) * (weights + peak / 4))


@dataclass(frozen=True)
class DeviceMemory:
    """The name of a device, and its memory in bytes."""

    name: str
    total: int
    free: int


def check_memory(project: Project) -> Iterator[Finding]:
    """Yields whether training and image generation fit the device."""
    from gift_core.computation import require_devices, resolve_device

    device = resolve_device(project.config.run.device)
    memory, processes = memory_of(device), project.config.training.processes
    share = memory
    if device.type == "cpu" and processes > 1:
        share = DeviceMemory(f"each of {processes} processes", memory.total // processes, memory.free // processes)
    yield check_training(project, share)
    try:
        require_devices(device, processes)
    except UserError as error:
        yield Finding("training.processes", "fail", str(error))
    if all(project.config.methods[name].replay.reads != "synthetic" for name in project.config.run.methods):
        return
    yield check_generation(project, memory)
    if device.type == "cpu" and project.config.generator.dtype == "float16":
        what = "generator.dtype is float16, which is very slow on a CPU"
        yield Finding("device", "warn", what, "Use a GPU, or `dvc pull` images that were generated elsewhere.")


def check_training(project: Project, device: DeviceMemory) -> Finding:
    """Returns whether the most demanding method fits `device` on the task with the most texts."""
    config, count, training = model_config_of(project), clip_count(project), project.config.training
    names, rows = project.config.run.methods, project.config.methods
    methods = [rows[name] for name in names if rows[name].learns != "nothing"]
    if config is None or count is None or not methods:
        what = "no estimate: the architecture of the model is not known yet, or no method trains it"
        return Finding("training memory", "info", what)
    sizes = {step.task: task_size(project, step.task) for step in project.config.sequence} or {"assumed": TYPICAL}
    name, size = max(sizes.items(), key=lambda each: each[1].trained_texts(training.batch_size))
    texts = size.trained_texts(training.batch_size)
    peak = partial(training_bytes, count, precision=project.config.model.precision, texts=texts)
    trained = [(method, _trained_weights(method, count, config)) for method in methods]

    def estimate(**changes: int) -> int:
        changed = training.model_copy(update=changes)
        return max(peak(method, changed, trained=number) for method, number in trained)

    choices = {f"training.micro_batch_size: {size}": estimate(micro_batch_size=size) for size in (64, 32, 16, 8, 4)}
    what = f"{texts} {'captions' if size.test_captions else 'classes'} ({name})"
    return memory_finding("training memory", what, estimate(), device=device, choices=choices)


def _trained_weights(method: MethodConfig, count: ClipCount, config: dict[str, Any]) -> int:
    """How many weights a method trains, without those of adapters."""
    if method.trains is None or method.trains.is_merged:
        return count.weights if method.trains is None else 0
    from gift_core.clip.trained import TRAINS
    from gift_core.doctor.counting import empty_clip

    with TRAINS[method.trains.kind](empty_clip(config), **method.trains.keywords()) as part:
        return sum(each.numel() for each in part.parameters.values())


def check_generation(project: Project, device: DeviceMemory) -> Finding:
    """Returns whether the pipeline and a batch of images fit `device`."""
    generator, count = project.config.generator, pipeline_count(project)
    if count is None:
        what = f"no estimate: {generator.pipeline} is not on this machine yet, or has no UNet"
        return Finding("generation memory", "info", what)

    def estimate(**changes: Any) -> int:
        return generation_bytes(count, generator.model_copy(update=changes))

    images = generator.batch_size
    choices = {f"generator.batch_size: {few}": estimate(batch_size=few) for few in (4, 2, 1) if few < images}
    choices["generator.memory: {vae_slicing: true, ...}"] = estimate(memory=SLICED)
    offloaded = SLICED.model_copy(update={"offload": "model"})
    choices["generator.memory: {vae_slicing: true, offload: model, ...}"] = estimate(memory=offloaded)
    return memory_finding("generation memory", f"{images} images at once", estimate(), device=device, choices=choices)


def memory_finding(
    subject: str, what: str, estimate: int, *, device: DeviceMemory, choices: Mapping[str, int]
) -> Finding:
    """Returns whether `estimate` bytes fit with the margin. If not, suggests the first of `choices` that does.

    `choices` maps settings to their estimates.
    """
    need = MARGIN * estimate
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
