"""Whether the experiment fits this machine, by what a rehearsal measured: time, memory and disk.

Without a measurement that holds, one line says how to get it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from gift_core.doctor.finding import Finding, Mark, Project
from gift_core.doctor.measurement import StageNeeds, valid_measurement, whole_needs, whole_seconds
from gift_core.doctor.storage import NO_SPACE, cache_folders
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import byte_size, duration, plural

if TYPE_CHECKING:
    import torch

LONG, TOO_LONG = 12 * 3600, 24 * 3600  # seconds, on a CPU
BRIEF = ("import_model", "write_vocabulary", "write_prompts", "report", "check")  # one row in tables
KINDS = {  # of artifacts: the types of stages that write them
    "tasks": ("ingest",), "shards": ("synthesize",), "teachers": ("teach",),
    "models": ("finetune", "evaluate", "import_model"),
}  # fmt: skip
SHORTER = {  # the settings that decide how long the stages of a type take
    "ingest": "shots or classes of the tasks",
    "synthesize": "generator.steps or prompts.images_per_task",
    "finetune": "training.iterations or training.batch_size",
    "evaluate": "evaluation.max_images (empty: all test images)",
}
SMALLER = {  # and how much memory
    "synthesize": "a lower generator.batch_size, or generator.memory: {vae_slicing: true, offload: model, ...}",
    "evaluate": "a lower evaluation.batch_size",
}
SMALLER_TRAINING = "training.micro_batch_size: 16, or training.gradient_checkpointing: true"
INSTEAD = "Run it on a GPU, or on several machines (docs/full_size.md). {} To run it here all the same: dvc repro."
# Of presets that were measured at full size elsewhere (docs/full_size.md).
KNOWN = "It takes up to 27.5 GB of GPU memory, 161 GB of disk with the cache, and hours (docs/full_size.md)"
KNOWN_PRESETS = ("mtil_order_1", "mtil_order_2")


@dataclass(frozen=True)
class DeviceMemory:
    """The name of a device, and its memory in bytes."""

    name: str
    total: int
    free: int


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


def kind_of(stage: str) -> str:
    """Returns what a stage is counted as in tables: all of BRIEF are one row."""
    return "other stages" if stage in BRIEF else stage


def by_kind(needs: Sequence[StageNeeds]) -> dict[str, list[StageNeeds]]:
    """Returns the stages of each kind, in the order of the pipeline."""
    kinds: dict[str, list[StageNeeds]] = {}
    for each in needs:
        kinds.setdefault(kind_of(each.stage), []).append(each)
    rest = kinds.pop("other stages", [])
    return {**kinds, **({"other stages": rest} if rest else {})}


def is_made(layout: Layout, needs: StageNeeds) -> bool:
    """Whether the output of a stage is there."""
    stage, method, task = needs.key
    outputs = {
        "import_model": layout.pretrained(),
        "ingest": layout.task(task) / "task.json",
        "write_vocabulary": layout.base_vocabulary(),
        "write_prompts": layout.prompts(task),
        "synthesize": layout.shards(task),
        "probe": layout.probe(task),
        "teach": layout.teacher(method, task),
        "finetune": layout.model(method, task),
        "evaluate": layout.released(method, task),
        "report": layout.reports() / "index.html",
    }
    return stage in outputs and outputs[stage].exists()


def check_device(project: Project) -> Iterator[Finding]:
    """Yields whether there are as many GPUs as settings ask for, and a warning of float16 images on a CPU."""
    config = project.config
    generates = any(config.methods[name].replay.reads == "synthetic" for name in config.run.methods)
    in_half = generates and config.generator.dtype == "float16"
    if not in_half and config.training.processes == 1:
        return
    from gift_core.computation import require_devices, resolve_device

    device = resolve_device(config.run.device)
    try:
        require_devices(device, config.training.processes)
    except UserError as error:
        yield Finding("training.processes", "fail", str(error))
    if in_half and device.type == "cpu":
        what = "generator.dtype is float16, which is very slow on a CPU: such an experiment takes days"
        remedy = "Use a GPU, or try photos on a CPU (gift use laptop), or the miniature (gift use mini)."
        yield Finding("device", "warn", what, remedy)


def check_memory(project: Project) -> Iterator[Finding]:
    """Yields for each kind of stage its highest measured peak of memory, and whether the device has that."""
    measured, since = valid_measurement(project)
    if measured is None:
        yield Finding("memory", "info", since)
        return
    from gift_core.computation import resolve_device

    device = memory_of(resolve_device(project.config.run.device))
    machine = memory_of(resolve_device("cpu"))
    for kind, stages in by_kind(whole_needs(measured, project)).items():
        for where, memory in (("gpu", device), ("process", machine)):
            held = [each for each in stages if where in each.peaks and (where == "gpu" or not each.uses_gpu)]
            if held:
                yield _memory_finding(kind, max(held, key=lambda each: each.peaks[where]), where, memory, since)


def _memory_finding(kind: str, largest: StageNeeds, where: str, memory: DeviceMemory, since: str) -> Finding:
    peak, name = largest.peaks[where], " ".join(each for each in largest.key if each)
    found = f"up to {byte_size(peak)} ({name}); {memory.name} has {byte_size(memory.total)}, "
    found += f"{byte_size(memory.free)} free; {since}"
    if peak <= memory.free:
        return Finding(f"memory of {kind}", "ok", found)
    mark: Mark = "warn" if peak <= memory.total else "fail"
    remedy = f"Set {SMALLER.get(largest.stage, SMALLER_TRAINING)}, and rehearse again. See docs/memory.md."
    return Finding(f"memory of {kind}", mark, found, remedy)


def check_time(project: Project) -> Iterator[Finding]:
    """Yields how long each kind of stage takes by the measurement, and whether that is too long for a CPU."""
    if not project.config.sequence:
        return
    measured, since = valid_measurement(project)
    if measured is None:
        if not project.quick:
            known = KNOWN if project.config.experiment in KNOWN_PRESETS else ""
            yield Finding("time", "info", since, known)
        return
    needs, layout = whole_needs(measured, project), Layout(project.root)
    total = sum(each.seconds for each in needs)
    left = sum(each.seconds for each in needs if not is_made(layout, each)) if project.is_active else total
    kinds = by_kind(needs)
    if not project.quick:
        for kind, stages in kinds.items():
            seconds = sum(each.seconds for each in stages)
            yield Finding(f"time of {kind}", "info", f"{duration(seconds)} ({plural(len(stages), 'stage')})")
    on_gpu = sum(each.seconds for each in needs if each.uses_gpu)
    found = f"about {duration(total)} on {measured.device} from scratch"
    found += f", {duration(on_gpu)} of them with the GPU" if on_gpu else ""
    if left != total:
        found += f"; {duration(left)} are left" if left else "; every stage has its output"
    found += f"; {since}"
    if not on_gpu and left > LONG:
        longest = max(SHORTER, key=lambda stage: sum(each.seconds for each in kinds.get(stage, ())))
        shorter = f"{longest} takes longest: lower {SHORTER[longest]}."
        too_long = left > TOO_LONG
        yield Finding("time", "fail" if too_long else "warn", found, INSTEAD.format(shorter) if too_long else shorter)
    elif not project.quick:
        yield Finding("time", "ok", found)


def check_disk(project: Project) -> Iterator[Finding]:
    """Yields whether the artifacts that are still missing fit the disks of the project and of the DVC cache.

    A tenth of them is to spare.
    """
    measured, since = valid_measurement(project)
    if measured is None:
        yield Finding("disk", "info", f"{byte_size(shutil.disk_usage(project.root).free)} free; {since}")
        return
    needs, layout = whole_needs(measured, project), Layout(project.root)
    sizes = dict.fromkeys(KINDS, 0)
    for kind, stages in KINDS.items():
        sizes[kind] += sum(each.bytes for each in needs if each.stage in stages)
    parts = ", ".join(f"{name} {byte_size(size)}" for name, size in sizes.items())
    yield Finding("disk", "info", f"artifacts: {byte_size(sum(sizes.values()))} ({parts}); {since}")
    missing = sum(each.bytes for each in needs if not (project.is_active and is_made(layout, each)))
    for folders in cache_folders(project.root).values():
        yield _disk_finding(folders, len(folders) * missing)


def _disk_finding(folders: Sequence[Path], needed: int) -> Finding:
    free = shutil.disk_usage(folders[0]).free
    share = f"{needed / max(free, 1):.0%}" if needed <= free else "more than all"
    found = f"{byte_size(needed)} still to be written at {folders[0].resolve()}, {share} of the {byte_size(free)} free"
    mark: Mark = "fail" if free < needed else "warn" if 10 * free < 11 * needed else "ok"
    return Finding("disk", mark, found, NO_SPACE if mark == "fail" else "")


def stage_times(project: Project) -> dict[Path, float]:
    """Returns {file with the run time of a stage: the seconds that it takes by the measurement}, {} without one."""
    measured, _ = valid_measurement(project)
    if measured is None:
        return {}
    times = {}
    for row in measured.stages:
        name = "-".join(part for part in (row["method"], row["task"]) if part) or row["stage"]
        file = Layout(project.root).timings() / row["stage"] / f"{name}.json"
        times[file] = whole_seconds(row, measured, project)
    return times
