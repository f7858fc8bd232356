"""Estimates how long the stages take here and on a GPU. docs/doctor.md says what the estimate ignores."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.stage_work import StageWork, count_work, type_of
from gift_core.execution.pool import core_count
from gift_core.layout import Layout
from gift_core.mini.miniature import miniature_of
from gift_core.quantities import duration, plural
from gift_core.untrusted import read_json_file

if TYPE_CHECKING:
    import torch

LONG, TOO_LONG = 12 * 3600, 24 * 3600  # seconds, on a CPU
# The stages' operations per second, relative to those of a matrix product (benchmarks/time_estimate.md).
EFFICIENCY = 0.65
IMAGE_SECONDS = 1.5e-3  # reading, decoding and cropping an image, and all that is no matrix product, on a CPU
CPU_SQUARE, GPU_SQUARE = 512, 4096  # rows of the matrices that a device multiplies
SHORTER = {  # the settings that decide how long the stages of a type take
    "ingest": "shots or classes of the tasks",
    "synthesize": "generator.steps or prompts.images_per_task",
    "finetune": "training.iterations or training.batch_size",
    "evaluate": "evaluation.max_images (empty: all test images)",
}
TYPES = {"fp32": "float32", "amp_bf16": "bfloat16", "amp_fp16": "float16"}  # of torch, by model.precision
WORTH_HALVING, FASTER = 1800, 1.25  # from which time on bfloat16 is tried, and from which gain on it is proposed
INSTEAD = (
    "Run it on a GPU, or on several machines (docs/full_size.md); try the miniature (gift use mini), or photos on a "
    "CPU (gift use laptop). {} To run it here all the same: dvc repro."
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
        computing = work.operations / (self.pipeline if work.stage == "synthesize" else self.clip)
        return work.start_seconds + (images + computing if self.is_cpu else max(images, computing))


LARGE_GPU = Speed("a GPU of 100 TFLOP/s", False, 1e14, 1e14)


def check_time(project: Project) -> Iterator[Finding]:
    """Yields how long each stage type takes here and on a GPU, and whether that is too long for a CPU.

    The run times of stages that ran since params.yaml was changed replace their estimates. A quick check yields only
    what is too long. The models of the miniature take minutes, so that they are not counted. UserError if the device of
    params.yaml is not available here.
    """
    of_miniature = miniature_of(project.config).model and project.config.generator.pipeline == "data/mini/diffusion"
    if project.quick and (of_miniature or not project.config.sequence):
        return
    import pandas as pd

    workload, speed, rows = count_work(project), measure_speed(project), []
    changed = (project.root / "params.yaml").stat().st_mtime if project.is_active else math.inf
    for work in workload.stages:
        note, here = _timing(project, work), speed.seconds(work)
        if work.made and note.is_file() and note.stat().st_mtime > changed:
            here = float(read_json_file(note)["seconds"])
        rows.append((type_of(work.stage), 1, here, LARGE_GPU.seconds(work), 0.0 if work.made else here))
    table = pd.DataFrame(rows, columns=["stage", "count", "here", "gpu", "left"]).groupby("stage", sort=False).sum()
    _, total, gpu, left = map(float, table.sum())
    if not project.quick:
        for stage, count, here, there, _ in table.itertuples():
            times = f"{duration(here)} here, {duration(there)} on {LARGE_GPU.device}"
            yield Finding(f"time of {stage}", "info", f"{times} ({plural(count, 'stage')})")
        yield from (Finding("time", "info", f"not estimated: {what}") for what in workload.unknown)
    parts = ", ".join(f"{stage} {duration(here)}" for stage, here in table["here"].items() if 100 * here >= total)
    of = f" for {workload.assumed}" if workload.assumed else ""
    found = f"about {duration(total)} on {speed.device} from scratch{of} ({parts})"
    found += f"; {duration(gpu)} on {LARGE_GPU.device}"
    if left != total:
        found += f"; {duration(left)} are left here" if left else "; every stage has its output"
    if speed.is_cpu and left > LONG:
        longest = max(SHORTER, key=lambda stage: float(table["left"].get(stage, 0.0)))
        shorter = f"{longest} takes longest: lower {SHORTER[longest]}."
        too_long = left > TOO_LONG
        yield Finding("time", "fail" if too_long else "warn", found, INSTEAD.format(shorter) if too_long else shorter)
    elif not project.quick:
        yield Finding("time", "ok", found)
    if not project.quick and speed.is_cpu and WORTH_HALVING < left <= TOO_LONG:
        yield from check_bfloat16(project)


def check_bfloat16(project: Project) -> Iterator[Finding]:
    """Proposes bfloat16 where the CPU is faster with it."""
    import torch

    chosen = {"model.precision: amp_bf16": project.config.model.precision == "amp_bf16"}
    chosen["generator.dtype: bfloat16"] = project.config.generator.dtype == "bfloat16"
    keys, cpu = [key for key, has_it in chosen.items() if not has_it], torch.device("cpu")
    if keys and (gain := measure_rate(cpu, "bfloat16") / measure_rate(cpu, "float32")) > FASTER:
        found = f"on this CPU a matrix product in bfloat16 takes {1 / gain:.0%} of the time in float32"
        remedy = f"Write {' and '.join(keys)}. It changes all results slightly: do it before the first run."
        yield Finding("bfloat16", "info", found, remedy)


def estimate_stages(project: Project) -> dict[Path | None, float]:
    """Returns {file with the run time of a stage: its estimated seconds}. A GPU is not measured, but LARGE_GPU."""
    from gift_core.computation import resolve_device

    named = project.config.run.device
    kind = resolve_device(named).type if named == "auto" else named
    speed = measure_speed(project) if kind == "cpu" else LARGE_GPU
    return {_timing(project, work): speed.seconds(work) for work in count_work(project).stages}


def _timing(project: Project, work: StageWork) -> Path:
    name = "-".join(part for part in (work.method, work.task) if part) or work.stage
    return Layout(project.root).timings() / work.stage / f"{name}.json"


def measure_speed(project: Project) -> Speed:
    """Returns the speed of the device of params.yaml, from matrix products of the precisions that are used.

    A CPU computes in float32, or in bfloat16 where the settings have it. UserError if the device is not available.
    """
    from gift_core.computation import resolve_device

    device = resolve_device(project.config.run.device)
    is_cpu = device.type == "cpu"
    chosen = TYPES[project.config.model.precision], project.config.generator.dtype
    clip, pipeline = ("float32" if is_cpu and each != "bfloat16" else each for each in chosen)
    rates = {each: EFFICIENCY * measure_rate(device, each) for each in {clip, pipeline}}
    name = f"this CPU ({plural(core_count(), 'core')})" if is_cpu else "this GPU"
    return Speed(name, is_cpu, rates[clip], rates[pipeline])


def measure_rate(device: torch.device, dtype: str) -> float:
    """Returns the operations per second of a matrix product: those of the fastest run, which others disturb least.

    Of a CPU, the processor time of one thread is measured, which depends little on what else the machine does. It
    counts for each core.
    """
    import torch
    from torch.utils.benchmark import Timer

    from gift_core.computation import wait_for

    is_cpu = device.type == "cpu"
    side, clock = (CPU_SQUARE, time.process_time) if is_cpu else (GPU_SQUARE, time.perf_counter)
    matrix = torch.ones(side, side, device=device, dtype=getattr(torch, dtype))
    names = {"matrix": matrix, "wait_for": wait_for, "device": device}
    timer = Timer("matrix @ matrix; wait_for(device)", timer=clock, globals=names, num_threads=1)
    return (core_count() if is_cpu else 1) * 2 * side**3 / min(timer.blocked_autorange().times)
