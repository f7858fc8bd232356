"""The devices that torch computes on: their names, their random numbers, float32 in full, and copies to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from gift_core.errors import UserError, lookup

RandomStates = Mapping[str, torch.Tensor]  # of torch's generators, by kind of device


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Returns the states of torch's generators: that of the CPU, and that of `device`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(device: torch.device, states: RandomStates) -> None:
    """Sets the generators of `random_states`."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states["mps"])


@contextmanager
def repeated_random_state(device: torch.device, states: RandomStates) -> Iterator[None]:
    """Within the block torch's generators continue from `states`. Afterwards they are restored."""
    before = random_states(device)
    set_random_states(device, states)
    try:
        yield
    finally:
        set_random_states(device, before)


def own_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """Within the block, torch's random numbers on the CPU and on `device` are its own. Afterwards they go on."""
    return repeated_random_state(device, random_states(device))


def seed_generators(device: torch.device, seed: int) -> None:
    """Seeds the generators of `random_states`. torch.manual_seed would seed those of all devices."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    if device.type == "mps":
        torch.mps.manual_seed(seed)


def set_up_device(name: str) -> torch.device:
    """Returns resolve_device(name). From now on, this process of the pipeline computes float32 in full."""
    device = resolve_device(name)
    torch.backends.cudnn.allow_tf32 = False
    return device


@contextmanager
def full_float32() -> Iterator[None]:
    """Within the block float32 is computed in full, as in the pipeline. Afterwards torch computes it as before.

    By default, convolutions on CUDA devices round to TF32. Matrix products do not.
    """
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision  # allow_tf32 cannot be read where these two differ
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = "tf32" in before
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


def resolve_device(name: str) -> torch.device:
    """Returns the device called `name`: cpu, cuda, cuda:<number>, mps, or auto (the fastest kind of this machine).

    UserError for an unknown name and for a device that this machine or this build of torch lacks.
    """
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


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A CPU tensor on `device`. Copies to a CUDA device are asynchronous, from pinned memory."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
