"""What `gift run` shows: a table on a terminal, one line for each event elsewhere, only failures with --quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gift_core.progress import is_quiet
from gift_core.quantities import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_RUNNING = 20
COUNTED = ("waiting", "running", "done", "restored", "unchanged", "failed", "skipped")


class RunTable:
    """The state of each stage of a run. `counts` has how many there are of each of COUNTED."""

    def __init__(self, stages: int, workers: int) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Any = None
        self._workers = workers
        self._started = time.monotonic()
        self._running: dict[str, float] = {}
        self.counts = Counter(waiting=stages)
        self.seconds_left: float | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the table within the block, where stderr is a terminal."""
        from rich.live import Live

        if is_quiet() or not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, get_renderable=self._render, refresh_per_second=4, transient=True) as live:
            self._live = live
            yield
        self._live = None

    def running(self) -> dict[str, float]:
        """Returns how many seconds each running stage has run."""
        return {name: time.monotonic() - started for name, started in self._running.items()}

    def start(self, name: str, *, what: str = "started") -> None:
        """Notes that a stage runs, perhaps once more."""
        if name not in self._running:
            self._move("waiting", "running")
        self._running[name] = time.monotonic()
        self.say(f"{name}: {what}")

    def end(self, name: str, state: str, what: str = "") -> float:
        """Notes how a stage ended, one of COUNTED. Returns the seconds that it ran, 0 if it did not run."""
        started = self._running.pop(name, None)
        seconds = 0.0 if started is None else time.monotonic() - started
        self._move("waiting" if started is None else "running", state)
        if state not in ("unchanged", "failed"):
            self.say(f"{name}: {what or state}{f' after {duration(seconds)}' if started is not None else ''}")
        return seconds

    def say(self, message: str) -> None:
        """Prints a line, with the time where there is no table. Not with --quiet."""
        if not is_quiet():
            self._print(message if self._live else f"{time.strftime('%H:%M:%S')} {message}")

    def explain_failure(self, name: str, lines: Sequence[str]) -> None:
        """Prints why a stage failed, also with --quiet."""
        self._print("\n".join([f"failed: {name}", *(f"  {line}" for line in lines)]))

    def summary(self) -> str:
        """Returns "12 done, 3 restored, 29 unchanged in 2 min"."""
        parts = [f"{self.counts[state]} {state}" for state in COUNTED if self.counts[state]]
        return f"{', '.join(parts) or 'no stages'} in {duration(time.monotonic() - self._started)}"

    def _move(self, before: str, after: str) -> None:
        self.counts[before] -= 1
        self.counts[after] += 1

    def _print(self, text: str) -> None:
        if self._live:
            from rich.text import Text

            self._console.print(Text(text))
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        counts = ", ".join(f"{self.counts[state]} {state}" for state in COUNTED if self.counts[state])
        left = "" if self.seconds_left is None else f", at least {duration(self.seconds_left)} left"
        head = Text(f"{counts}; {duration(time.monotonic() - self._started)}{left} ({self._workers} workers)")
        table = Table.grid(padding=(0, 2))
        running = self.running()
        for name, seconds in list(running.items())[:SHOWN_RUNNING]:
            table.add_row(Text(f"  {name}"), Text(duration(seconds)))
        if len(running) > SHOWN_RUNNING:
            table.add_row(Text(f"  and {len(running) - SHOWN_RUNNING} more"))
        return Group(head, table)
