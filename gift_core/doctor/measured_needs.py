"""Whether the experiment fits this machine, by what a rehearsal measured: time, memory and disk.

Without a measurement that holds, one line says how to get it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from gift_core.doctor.finding import Finding, Mark, Project
from gift_core.doctor.measurement import StageNeeds, valid_measurement, whole_needs
from gift_core.doctor.storage import NO_SPACE, cache_folders
from gift_core.quantities import byte_size, duration, plural
from gift_core.stage_facts import STAGES, facts_of

if TYPE_CHECKING:
    import torch

LONG, TOO_LONG = 12 * 3600, 24 * 3600  # seconds, on a CPU
OTHER_STAGES = "other stages"  # one row in tables: those that take no time and no memory worth a row
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


def by_kind(needs: Sequence[StageNeeds]) -> dict[str, list[StageNeeds]]:
    """Returns the stages of each kind, in the order of the pipeline."""
    kinds: dict[str, list[StageNeeds]] = {}
    others: list[StageNeeds] = []
    for stage in needs:
        facts = facts_of(stage.stage)
        if facts.computes or facts.less_time:
            kinds.setdefault(stage.stage, []).append(stage)
        else:
            others.append(stage)
    return kinds | {OTHER_STAGES: others} if others else kinds


def seconds_of(stages: Iterable[StageNeeds]) -> float:
    """Returns the time of the stages, one after another."""
    return sum(stage.seconds for stage in stages)


def left_to_run(needs: Sequence[StageNeeds], project: Project) -> list[StageNeeds]:
    """Returns the stages whose output is not there. For a preset that is not active, all."""
    if not project.is_active:
        return [*needs]
    return [stage for stage in needs if not all((project.root / path).exists() for path in stage.outs)]


def check_memory(project: Project) -> Iterator[Finding]:
    """Yields for each kind of stage its highest measured peak of memory, and whether the device has that."""
    measured, since = valid_measurement(project)
    if measured is None:
        yield Finding("memory", "info", since)
        return
    from gift_core.torch_devices import resolve_device

    device = memory_of(resolve_device(project.config.run.device))
    machine = memory_of(resolve_device("cpu"))
    for kind, stages in by_kind(whole_needs(measured, project)).items():
        for uses_gpu, memory in {True: device, False: machine}.items():
            peaks = [stage for stage in stages if stage.uses_gpu == uses_gpu]
            if peaks:
                yield _memory_finding(kind, max(peaks, key=lambda stage: stage.peak), memory, since)


def _memory_finding(kind: str, largest: StageNeeds, memory: DeviceMemory, since: str) -> Finding:
    peak, name = largest.peak, " ".join(filter(None, (largest.stage, largest.method, largest.task)))
    needs = f"up to {byte_size(peak)} ({name}); {memory.name} has {byte_size(memory.total)}, "
    needs += f"{byte_size(memory.free)} free; {since}"
    if peak <= memory.free:
        return Finding(f"memory of {kind}", "ok", needs)
    mark: Mark = "warn" if peak <= memory.total else "fail"
    settings = facts_of(largest.stage).less_memory
    remedy = f"Change params.yaml, in this order: {settings}. Then rehearse again. See docs/memory.md."
    return Finding(f"memory of {kind}", mark, needs, remedy if settings else "Close other programs that use it.")


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
    needs = whole_needs(measured, project)
    kinds = by_kind(needs)
    total, on_gpu = seconds_of(needs), seconds_of(stage for stage in needs if stage.uses_gpu)
    left = seconds_of(left_to_run(needs, project))
    if not project.quick:
        for kind, stages in kinds.items():
            yield Finding(f"time of {kind}", "info", f"{duration(seconds_of(stages))} ({plural(len(stages), 'stage')})")
    times = f"about {duration(total)} on {measured.device} from scratch"
    times += f", {duration(on_gpu)} of them with the GPU" if on_gpu else ""
    if left != total:
        times += f"; {duration(left)} are left" if left else "; every stage has its output"
    times += f"; {since}"
    if not on_gpu and left > LONG:
        shortened = [stage for stage, facts in STAGES.items() if facts.less_time]
        longest = max(shortened, key=lambda stage: seconds_of(kinds.get(stage, ())))
        shorter = f"{longest} takes longest: lower {facts_of(longest).less_time}."
        if left > TOO_LONG:
            yield Finding("time", "fail", times, INSTEAD.format(shorter))
        else:
            yield Finding("time", "warn", times, shorter)
    elif not project.quick:
        yield Finding("time", "ok", times)


def check_disk(project: Project) -> Iterator[Finding]:
    """Yields whether the artifacts that are still missing fit the disks of the project and of the DVC cache.

    A tenth of them is to spare.
    """
    measured, since = valid_measurement(project)
    if measured is None:
        yield Finding("disk", "info", f"{byte_size(shutil.disk_usage(project.root).free)} free; {since}")
        return
    needs = whole_needs(measured, project)
    sizes = {facts.writes: 0 for facts in STAGES.values() if facts.writes}
    for stage in needs:
        artifact = facts_of(stage.stage).writes
        if artifact:
            sizes[artifact] += stage.bytes
    parts = ", ".join(f"{name} {byte_size(size)}" for name, size in sizes.items())
    yield Finding("disk", "info", f"artifacts: {byte_size(sum(sizes.values()))} ({parts}); {since}")
    missing = sum(stage.bytes for stage in left_to_run(needs, project))
    for folders in cache_folders(project.root).values():
        yield _disk_finding(folders, len(folders) * missing)


def _disk_finding(folders: Sequence[Path], needed: int) -> Finding:
    free = shutil.disk_usage(folders[0]).free
    share = f"{needed / max(free, 1):.0%}" if needed <= free else "more than all"
    space = f"{byte_size(needed)} still to be written at {folders[0].resolve()}, {share} of the {byte_size(free)} free"
    if free < needed:
        return Finding("disk", "fail", space, NO_SPACE)
    return Finding("disk", "warn" if 10 * free < 11 * needed else "ok", space)
