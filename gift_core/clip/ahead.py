"""Batches drawn one step ahead, while the device computes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def drawn(draw: Callable[[int], T], steps: int, *, device: torch.device) -> Generator[T, None, None]:
    """Yields draw(0) ... draw(steps - 1): ahead of a device that computes by itself, in turn on the CPU.

    There a second thread only fights over the cores with the one that computes: two cores then train a fifth slower.
    """
    if device.type == "cpu":
        return (draw(step) for step in range(steps))
    return drawn_ahead(draw, steps)


def drawn_ahead(draw: Callable[[int], T], steps: int) -> Generator[T, None, None]:
    """Yields draw(0) ... draw(steps - 1), one at least; a thread of its own draws the next while the caller uses one.

    A draw depends on its step alone, so the batches are those of drawing in turn. An error of a draw is raised where
    its batch would be yielded. Whatever ends the caller's loop, Ctrl-C too, ends the thread after the draw it is at:
    close the generator (contextlib.closing) where the loop may not run to its end.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="draw")
    try:
        upcoming = pool.submit(draw, 0)
        for step in range(1, steps + 1):
            batch = upcoming.result()
            if step < steps:
                upcoming = pool.submit(draw, step)
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
