"""Progress bars on stderr, with count and remaining time: one look for every long loop."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOG_INTERVAL_S = 15.0  # in a log file each redraw is kept, so there are few of them


def progress(iterable: Iterable[T], total: int, description: str, *, done: int = 0) -> Iterator[T]:
    """Yields what `iterable` yields while a bar counts it against `total`, from `done`, where the work continues."""
    yield from tqdm(iterable, initial=done, **_look(total, description))


def progress_bar(total: int, description: str, *, done: int = 0) -> tqdm[Any]:
    """Returns a bar (a context manager) to advance with `.update(n)`, for loops whose turns do several items."""
    return tqdm(initial=done, **_look(total, description))


def _look(total: int, description: str) -> dict[str, Any]:
    interval = 0.1 if sys.stderr.isatty() else LOG_INTERVAL_S
    return {
        "total": total,
        "desc": description,
        "file": sys.stderr,
        "mininterval": interval,
        "dynamic_ncols": True,
        "leave": None,  # a bar inside another one vanishes when it is full
    }
