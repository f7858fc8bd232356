"""How far a long loop is, on stderr: a bar on a terminal, else one plain line every 30 s. One look for every loop.

The environment variable GIFT_QUIET (`gift --quiet`) switches both off, in the library, too. Stages under `dvc repro`
inherit it, and DVC gives them its own terminal, so they show bars where DVC runs on one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from gift_core.process_variables import CLOCK, QUIET
from gift_core.quantities import duration

T = TypeVar("T")
LINE_SECONDS = 30.0
_WATCHERS: list[list[Counted]] = []


def is_quiet() -> bool:
    """Returns whether only results and errors are wanted."""
    return os.environ.get(QUIET, "").lower() not in ("", "0", "false", "no")


def seconds() -> float:
    """Returns the time of the clock with which stages and loops are measured."""
    return time.process_time() if os.environ.get(CLOCK) == "processor" else time.monotonic()


def progress(iterable: Iterable[T], total: int, description: str, *, done: int = 0) -> Iterator[T]:
    """Yields what `iterable` yields, and counts it against `total`, from `done`, where the work continues."""
    with progress_bar(total, description, done=done) as counted:
        for item in iterable:
            yield item
            counted.update(1)


@contextmanager
def progress_bar(total: int, description: str, *, done: int = 0) -> Iterator[Counted]:
    """Yields a count to advance with `.update(n)`, for loops whose turns do several items."""
    if is_quiet() or not _is_terminal():
        yield _watched(Counted(total, description, done))
        return
    from tqdm import tqdm

    look: dict[str, Any] = {"dynamic_ncols": True, "leave": None}  # a bar inside another one vanishes when it is full
    with tqdm(total=total, initial=done, desc=description, file=sys.stderr, **look) as bar:
        yield _watched(Counted(total, description, done, bar))


@contextmanager
def watched() -> Iterator[list[Counted]]:
    """Yields a list that gets every count that begins within the block: what a stage measures of itself."""
    counts: list[Counted] = []
    _WATCHERS.append(counts)
    try:
        yield counts
    finally:
        _WATCHERS.remove(counts)


def _watched(count: Counted) -> Counted:
    for counts in _WATCHERS:
        counts.append(count)
    return count


class Counted:
    """A count with a bar, with lines, or with nothing to see, whatever fits stderr when it begins."""

    def __init__(self, total: int, description: str, done: int, bar: Any = None) -> None:
        self._total = total
        self.description = description
        self._bar = bar
        self._first = self._count = done
        self._started = self._last_line = seconds()
        self._warm: tuple[float, int] | None = None  # the time and the count after the first update
        self._updated = self._started
        self._lock = Lock()

    def update(self, count: int = 1) -> None:
        """Counts `count` more. Several threads may call it."""
        with self._lock:
            self._count += count
            now = self._updated = seconds()
            self._warm = self._warm or (now, self._count)
            if self._bar is not None:
                self._bar.update(count)
            elif now - self._last_line >= LINE_SECONDS and not is_quiet():
                self._last_line = now
                left = max(0, self._total - self._count) * (now - self._started) / max(1, self._count - self._first)
                line = f"{self.description} {self._count}/{self._total}, {duration(left)} left"
                print(line, file=sys.stderr, flush=True)  # noqa: T201

    @property
    def counted(self) -> int:
        """How many were counted here, without those that were done before."""
        return self._count - self._first

    @property
    def unit_seconds(self) -> float:
        """The time of one more: without the first update, which warms up, where others came after it."""
        if self._warm is None:
            return 0.0
        since, count = self._warm
        if self._count == count:
            since, count = self._started, self._first
        return (self._updated - since) / max(1, self._count - count)


def _is_terminal() -> bool:
    """Whether stderr can show a bar: not where its cursor does not move, or its width is unknown."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return False
    return os.get_terminal_size(sys.stderr.fileno()).columns > 0
