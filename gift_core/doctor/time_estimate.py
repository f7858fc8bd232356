"""Estimates how long the stages take here and on a GPU. docs/doctor.md says what the estimate ignores."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.doctor.device_speed import (
    bfloat16_share,
    core_count,
    core_rate,
    fastest,
    may_have_bfloat16,
    may_have_gpu,
)
from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.stage_work import StageWork, Workload, count_work
from gift_core.layout import Layout
from gift_core.mini.miniature import miniature_of
from gift_core.quantities import duration, plural
from gift_core.untrusted import read_json_file

HOUR = 3600
LONG, TOO_LONG = 12 * HOUR, 24 * HOUR  # on a CPU
MINIATURE_PIPELINE = "data/mini/diffusion"
# The stages' operations per second, relative to those of a matrix product (benchmarks/time_estimate.md).
EFFICIENCY = 0.65
IMAGE_SECONDS = 1.5e-3  # reading, decoding and cropping an image, and all that is no matrix product, on a CPU
GPU_SQUARE = 4096  # rows of the matrices that a GPU multiplies
SHORTER = {  # the settings that decide how long the stages of a type take
    "synthesize": "generator.steps or prompts.images_per_task",
    "finetune": "training.iterations or training.batch_size",
    "evaluate": "evaluation.max_images (empty: all test images)",
}
BF16 = ("amp_bf16", "bfloat16")  # model.precision and generator.dtype
WORTH_HALVING, FASTER = 0.5 * HOUR, 0.8  # from which time on bfloat16 is tried, and up to which share it is proposed
INSTEAD = (
    "Run it on a GPU, or on several machines (docs/full_size.md); try the miniature (gift use mini), or photos on a "
    "CPU (gift use laptop). {shorter} To run it here all the same: dvc repro."
)


@dataclass(frozen=True)
class Speed:
    """The operations per second that the stages reach on a device, with the CLIP and with the pipeline.

    A GPU computes while the CPU decodes the next images. A CPU does both.
    """

    device: str
    is_cpu: bool
    clip: float
    pipeline: float

    def seconds(self, work: StageWork) -> float:
        """Returns the time of a stage on the device."""
        images = IMAGE_SECONDS * work.images
        computing = work.operations / (self.pipeline if work.generates else self.clip)
        return work.start_seconds + (images + computing if self.is_cpu else max(images, computing))


LARGE_GPU = Speed("a GPU of 100 TFLOP/s", False, 1e14, 1e14)


@dataclass(frozen=True)
class StageTime:
    """The stages of one type: how many, the seconds from scratch here and on LARGE_GPU, and those still to run here.

    `measured`: the seconds here are partly those of earlier runs.
    """

    stage: str
    count: int
    here: float
    gpu: float
    left: float
    measured: bool


@dataclass(frozen=True)
class TimeEstimate:
    """The stage types in the order of the pipeline, on the device `here`, and what of the experiment is not counted."""

    here: Speed
    stages: tuple[StageTime, ...]
    workload: Workload

    @property
    def left(self) -> float:
        """The seconds of what is left to run here."""
        return sum(each.left for each in self.stages)

    @property
    def is_too_long(self) -> bool:
        """Whether what is left takes more than a day on a CPU."""
        return self.here.is_cpu and self.left > TOO_LONG

    @property
    def sentence(self) -> str:
        """The total, with the stage types of at least 1%: "9 days on this CPU (...) from scratch (synthesize ...)"."""
        total, gpu = sum(each.here for each in self.stages), sum(each.gpu for each in self.stages)
        parts = ", ".join(f"{each.stage} {duration(each.here)}" for each in self.stages if 100 * each.here >= total)
        of = f" for {self.workload.assumed}" if self.workload.assumed else ""
        here = f"{duration(total)} on {self.here.device} from scratch{of} ({parts})"
        return f"{here}; {duration(gpu)} on {LARGE_GPU.device}"


def check_time(project: Project) -> Iterator[Finding]:
    """Yields how long each stage type takes here and on a GPU, and whether that is too long for a CPU.

    A quick check yields only what is too long. The models of the miniature take minutes, so that they are not counted.
    """
    config = project.config
    of_miniature = miniature_of(config).model and config.generator.pipeline == MINIATURE_PIPELINE
    if project.quick and (of_miniature or not config.sequence):
        return
    estimate = estimate_time(project)
    left, total = estimate.left, sum(each.here for each in estimate.stages)
    still = "" if left == total else f"; {duration(left)} are left here" if left else "; every stage has its output"
    found, is_long = f"about {estimate.sentence}{still}", estimate.here.is_cpu and left > LONG
    if not project.quick:
        for each in estimate.stages:
            source = ", after earlier runs" if each.measured else ""
            times = f"{duration(each.here)} here{source}, {duration(each.gpu)} on {LARGE_GPU.device}"
            yield Finding(f"time of {each.stage}", "info", f"{times} ({plural(each.count, 'stage')})")
        for what in estimate.workload.unknown:
            yield Finding("time", "info", f"not estimated: {what}")
    if is_long:
        longest = max((each for each in estimate.stages if each.stage in SHORTER), key=lambda each: each.left).stage
        shorter = f"{longest} takes longest: lower {SHORTER[longest]}."
        if estimate.is_too_long:
            yield Finding("time", "fail", found, INSTEAD.format(shorter=shorter))
        else:
            yield Finding("time", "warn", found, shorter)
    elif not project.quick:
        yield Finding("time", "ok", found)
    if not project.quick and estimate.here.is_cpu and WORTH_HALVING < left <= TOO_LONG:
        yield from _bfloat16(config)


def _bfloat16(config: Config) -> Iterator[Finding]:
    """Proposes bfloat16 where a CPU is faster with it."""
    keys = [f"model.precision: {BF16[0]}"] if config.model.precision != BF16[0] else []
    keys += [f"generator.dtype: {BF16[1]}"] if config.generator.dtype != BF16[1] else []
    if keys and may_have_bfloat16() and (share := bfloat16_share()) < FASTER:
        found = f"on this CPU a matrix product in bfloat16 takes {share:.0%} of the time in float32"
        remedy = f"Write {' and '.join(keys)}. It changes all results slightly: do it before the first run."
        yield Finding("bfloat16", "info", found, remedy)


def estimate_time(project: Project) -> TimeEstimate:
    """Returns the estimate for the device of params.yaml. Measures the device for a third of a second.

    UserError if the device is not available here.
    """
    workload, here = count_work(project), measure_speed(project)
    ran = _run_times(project, workload.stages, here)
    times = []
    for stage, group in groupby(workload.stages, key=lambda work: work.stage):
        works = list(group)
        # Run times since params.yaml was changed correct the estimate of the stages of the same type and method.
        seconds = [here.seconds(work) * ran.get((stage, work.method), 1.0) for work in works]
        left = sum(each for work, each in zip(works, seconds, strict=True) if not work.made)
        gpu, measured = sum(map(LARGE_GPU.seconds, works)), any((stage, work.method) in ran for work in works)
        times.append(StageTime(stage, len(works), sum(seconds), gpu, left, measured))
    return TimeEstimate(here, tuple(times), workload)


def estimate_stages(project: Project) -> dict[Path | None, float]:
    """Returns {file with the run time of a stage: its estimated seconds}. A GPU is not measured, but LARGE_GPU."""
    config = project.config
    speed = LARGE_GPU if config.run.device != "cpu" and may_have_gpu() else _cpu_speed(config)
    return {_timing(project, work): speed.seconds(work) for work in count_work(project).stages}


def _timing(project: Project, work: StageWork) -> Path:
    name = "-".join(part for part in (work.method, work.task) if part)
    return Layout(project.root).timings() / work.stage / f"{name}.json"


def _run_times(project: Project, stages: Iterable[StageWork], speed: Speed) -> dict[tuple[str, str], float]:
    """Returns {(stage type, method): run times / estimates} of the stages that ran since params.yaml was changed."""
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    changed = (project.root / "params.yaml").stat().st_mtime if project.is_active else math.inf
    for work in stages:
        note = _timing(project, work)
        if work.made and note.is_file() and note.stat().st_mtime > changed:
            measured, estimated = sums.get(key := (work.stage, work.method), (0.0, 0.0))
            sums[key] = measured + read_json_file(note)["seconds"], estimated + speed.seconds(work)
    return {key: measured / estimated for key, (measured, estimated) in sums.items()}


def measure_speed(project: Project) -> Speed:
    """Returns the speed of the device of params.yaml, from matrix products of the precisions that are used.

    UserError if the device is not available.
    """
    config = project.config
    if config.run.device == "cpu" or (config.run.device == "auto" and not may_have_gpu()):
        return _cpu_speed(config)
    import torch

    from gift_core.clip.device import resolve_device, wait_for

    device = resolve_device(config.run.device)
    if device.type == "cpu":
        return _cpu_speed(config)
    halves = {"fp32": torch.float32, "amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}

    def rate(dtype: torch.dtype) -> float:
        matrix = torch.ones(GPU_SQUARE, GPU_SQUARE, device=device, dtype=dtype)

        def multiply() -> None:
            matrix @ matrix
            wait_for(device)

        return EFFICIENCY * 2 * GPU_SQUARE**3 / fastest(multiply, time.perf_counter)

    return Speed("this GPU", False, rate(halves[config.model.precision]), rate(getattr(torch, config.generator.dtype)))


def _cpu_speed(config: Config) -> Speed:
    """The operations per second of one core, times the cores. bfloat16 is measured where the settings have it."""
    cores = core_count()
    rate = EFFICIENCY * cores * core_rate()
    halves = config.model.precision == BF16[0], config.generator.dtype == BF16[1]
    half = rate / bfloat16_share() if any(halves) else rate
    clip, pipeline = (half if chosen else rate for chosen in halves)
    return Speed(f"this CPU ({plural(cores, 'core')})", True, clip, pipeline)
