"""The memory of the devices of this machine, and whether the experiment's device suits it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from gift_core.doctor.finding import Finding, Project
from gift_core.errors import UserError

if TYPE_CHECKING:
    import torch


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


def check_device(project: Project) -> Iterator[Finding]:
    """Yields whether there are as many GPUs as settings ask for, and a warning of float16 images on a CPU."""
    config = project.config
    generates = any(config.methods[name].replay.reads == "synthetic" for name in config.run.methods)
    in_half = generates and config.generator.dtype == "float16"
    if not in_half and config.training.processes == 1:
        return
    from gift_core.torch_devices import require_devices, resolve_device

    device = resolve_device(config.run.device)
    try:
        require_devices(device, config.training.processes)
    except UserError as error:
        yield Finding("training.processes", "fail", str(error))
    if in_half and device.type == "cpu":
        slow = "generator.dtype is float16, which is very slow on a CPU: such an experiment takes days"
        remedy = "Use a GPU, or try photos on a CPU (gift use laptop), or the miniature (gift use mini)."
        yield Finding("device", "warn", slow, remedy)
