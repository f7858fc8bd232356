"""How far a long loop is, on stderr: a bar on a terminal, else one plain line every 30 s. One look for every loop.

The environment variable GIFT_QUIET (`gift --quiet`) switches both off. Stages under `dvc repro` inherit it, and DVC
gives them its own terminal, so they show bars where DVC runs on one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from threading import Lock
from typing import Any, TypeVar

from gift_core.quantities import duration

T = TypeVar("T")
QUIET = "GIFT_QUIET"
LINE_SECONDS = 30.0
_counts: list[Counted] = []  # the loops that run, the outermost first
_last_line: list[float] = []  # when the last line was printed, or the first loop began


def is_quiet() -> bool:
    """Returns whether only results and errors are wanted."""
    return os.environ.get(QUIET, "").lower() not in ("", "0", "false", "no")


def progress(iterable: Iterable[T], total: int, description: str, *, done: int = 0) -> Iterator[T]:
    """Yields what `iterable` yields, and counts it against `total`, from `done`, where the work continues."""
    with progress_bar(total, description, done=done) as counted:
        for each in iterable:
            yield each
            counted.update(1)


def progress_bar(total: int, description: str, *, done: int = 0) -> Counted:
    """Returns a context manager to advance with `.update(n)`, for loops whose turns do several items."""
    return Counted(total, description, done)


class Counted(AbstractContextManager["Counted"]):
    """A count with a bar, with lines, or with nothing to see, whatever fits stderr when the block begins."""

    def __init__(self, total: int, description: str, done: int) -> None:
        self._total, self._description = total, description
        self._first = self._count = done
        self._started = time.monotonic()
        self._bar: Any = None
        self._lock = Lock()
        self._closing = ExitStack()

    def __enter__(self) -> Counted:
        self._started = time.monotonic()
        if is_quiet():
            return self
        if _is_terminal():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total,
                initial=self._count,
                desc=self._description,
                file=sys.stderr,
                dynamic_ncols=True,
                leave=None,  # a bar inside another one vanishes when it is full
            )
            self._closing.callback(self._bar.close)
        else:
            _counts.append(self)
            self._closing.callback(_counts.remove, self)
            _last_line[:] = _last_line or [self._started]
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def update(self, count: int = 1) -> None:
        """Counts `count` more. Several threads may call it."""
        with self._lock:
            self._count += count
            if self._bar is not None:
                self._bar.update(count)
            elif self in _counts and time.monotonic() - _last_line[0] >= LINE_SECONDS:
                _last_line[0] = time.monotonic()
                print("; ".join(each.line() for each in _counts), file=sys.stderr, flush=True)  # noqa: T201

    def line(self) -> str:
        """Returns "iterations 140/200, 50 s left", without the time where nothing is done yet."""
        head = f"{self._description} {self._count}/{self._total}"
        seconds, done = time.monotonic() - self._started, self._count - self._first
        if done <= 0 or seconds <= 0:
            return head
        return f"{head}, {duration(max(0, self._total - self._count) * seconds / done)} left"


def _is_terminal() -> bool:
    """Whether stderr can show a bar: not where its cursor does not move, or its width is unknown."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return False
    return os.get_terminal_size(sys.stderr.fileno()).columns > 0
