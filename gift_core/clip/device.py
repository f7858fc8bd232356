"""Where tensors are computed: devices by name, and copies to them."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from gift_core.errors import UserError, lookup


def resolve_device(name: str) -> torch.device:
    """The device called `name`: cpu, cuda, cuda:<number>, mps, or auto (the fastest kind that this machine has).

    It also turns off TF32 for convolutions on CUDA devices, so that float32 is computed in full (matrix products do so
    by default). UserError for an unknown name and for a device that this machine or this build of torch lacks.
    """
    torch.backends.cudnn.allow_tf32 = False
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind in available if available[kind]))
    kind, colon, number = name.partition(":")
    is_available = lookup({**available, "auto": False}, kind, "device")
    exists = number.isdecimal() and int(number[:9]) < torch.cuda.device_count() if colon else True
    if not is_available or not exists:
        raise UserError(f"device: {name[:80]!r} is not available here (torch {torch.__version__}). Use auto or cpu.")
    return torch.device(name)


def require_devices(device: torch.device, processes: int) -> None:
    """Raises UserError unless each of the `processes` of a training has a GPU of its own, or all run on the CPU."""
    visible = torch.cuda.device_count() if device.type == "cuda" else 1
    if processes > visible and device.type != "cpu":
        raise UserError(
            f"params.yaml: training.processes: {processes} needs as many GPUs of CUDA, and {visible} "
            f"({device}) is visible here. Lower it, or write run.device: cpu. CUDA_VISIBLE_DEVICES may hide GPUs."
        )


def own_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """Within the block, torch's random numbers on the CPU and on `device` are its own. Afterwards they go on."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def wait_for(device: torch.device) -> None:
    """Waits until the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A CPU tensor on `device`. Copies to a CUDA device are asynchronous, from pinned memory."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
