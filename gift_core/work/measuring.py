"""What a stage measures of itself: the time of its units, and the peak of its memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gift_core.progress import Counted


def loop_notes(counts: Iterable[Counted]) -> list[dict[str, Any]]:
    """Returns {"of", "count", "unit_seconds"} of each loop: what it counted, how many, and the time of one more.

    Loops of the same thing are one, with their mean time.
    """
    loops: dict[str, list[Counted]] = {}
    for count in counts:
        loops.setdefault(count.description, []).append(count)
    notes = []
    for name, same in loops.items():
        total = sum(each.counted for each in same)
        seconds = sum(each.counted * each.unit_seconds for each in same) / max(1, total)
        notes.append({"of": name, "count": total, "unit_seconds": round(seconds, 7)})
    return notes


def peak_memory() -> dict[str, int]:
    """Returns the most bytes that were held so far: {"process": ..., "gpu": ...}, the second if a GPU was used.

    "process" is the resident memory of this process and of the largest of those that it started and that have ended.
    "gpu" is what torch has reserved, and what is held there outside of torch: the context, and other processes.
    """
    peaks = {}
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        users = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        peaks["process"] = unit * sum(resource.getrusage(user).ru_maxrss for user in users)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        peaks["gpu"] = max(map(_peak_of_gpu, range(torch.cuda.device_count())))
    return peaks


def _peak_of_gpu(device: int) -> int:
    import torch

    reserved = torch.cuda.max_memory_reserved(device)
    if reserved == 0:
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return reserved + total - free - torch.cuda.memory_reserved(device)
