"""Measures how fast this machine multiplies matrices: the speed behind the estimates of time."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

SQUARE = 1024  # rows of the matrices that a CPU multiplies
MEASURED_SECONDS, RUNS = 0.2, 3  # how long a device is measured, and how many times at least
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, a GPU of Windows in WSL, AMD
CPU_FILE = Path("/proc/cpuinfo")
BFLOAT16 = re.compile(r"\b(avx512_bf16|amx_bf16|bf16)\b")  # instructions of x86 and of ARM


def core_count() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def core_rate() -> float:
    """Returns the operations per second of a matrix product in float32 on one core.

    The processor time of one thread is measured, which depends little on what else the machine does. numpy multiplies,
    because torch takes seconds to import; torch is as fast.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    matrix = np.ones((SQUARE, SQUARE), dtype=np.float32)
    with threadpool_limits(1):
        return 2 * SQUARE**3 / fastest(lambda: matrix @ matrix, time.process_time)


def bfloat16_share() -> float:
    """Returns the time of a matrix product in bfloat16 relative to float32, on one core: 0.4 to far more than 1."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        matrix = torch.ones(SQUARE // 2, SQUARE // 2)
        half = matrix.bfloat16()
        return fastest(lambda: half @ half, time.process_time) / fastest(lambda: matrix @ matrix, time.process_time)
    finally:
        torch.set_num_threads(threads)


def may_have_bfloat16() -> bool:
    """Returns whether the CPU says that it has instructions for bfloat16. Only Linux is asked."""
    return CPU_FILE.is_file() and BFLOAT16.search(CPU_FILE.read_text(encoding="utf-8", errors="replace")) is not None


def may_have_gpu() -> bool:
    """Returns whether there may be a GPU that torch uses, without importing torch."""
    return sys.platform in ("darwin", "win32") or any(Path(file).exists() for file in GPU_FILES)


def fastest(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Returns the seconds of the fastest of many runs, which other processes disturb least."""
    work()
    end, seconds = time.perf_counter() + MEASURED_SECONDS, list[float]()
    while time.perf_counter() < end or len(seconds) < RUNS:
        started = clock()
        work()
        seconds.append(clock() - started)
    return min(seconds)
