"""Measures wall time and peak memory of a function on a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gift_core.clip.device import wait_for

GIB = 2**30


@dataclass(frozen=True)
class Taken:
    """Seconds of wall time, and the peak memory of tensors on a CUDA device (None on other devices)."""

    seconds: float
    peak_gib: float | None


def taken_by(work: Callable[[], object], device: str) -> Taken:
    """Calls `work`, waits until the device has finished, and returns what it took."""
    chosen = torch.device(device)
    on_cuda = chosen.type == "cuda"
    if on_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(chosen)
    wait_for(chosen)
    started = time.perf_counter()
    work()
    wait_for(chosen)
    seconds = time.perf_counter() - started
    return Taken(seconds, torch.cuda.max_memory_allocated(chosen) / GIB if on_cuda else None)
