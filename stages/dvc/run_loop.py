"""The loop of `gift run`: ready stages go to the workers, this process records finished ones in DVC.

A Schedule says which stage comes next, whatever a stage is and wherever it runs. The loop prints one line for each
event, and only failures with --quiet.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from gift_core.errors import UserError
from gift_core.execution.on_node import Job
from gift_core.process_variables import OFFERS
from gift_core.progress import is_quiet
from gift_core.quantities import duration
from gift_core.work.spread import offers_of

from .pipeline import DvcPipeline
from .time_left import describe

if TYPE_CHECKING:
    from gift_core.execution.pool import Ended, Pool

POLL_SECONDS = 0.2
ATTEMPTS = 3  # of a stage whose worker is lost or that a signal ends
LOSSES = 3  # of helpers of a stage, until it gets no other one
SHOWN_LINES = 15  # of the log of a failed stage
COUNTED = ("waiting", "running", "done", "restored", "unchanged", "failed", "skipped")


@dataclass
class RunLoop:
    """One run. `seconds` has the expected time of each stage that may run.

    A stage offers its units in a folder below `logs`, to at most `helpers` free workers, None for all of them. After
    `run`, `failed` has the reason of each stage that failed.
    """

    pipeline: DvcPipeline
    pool: Pool
    logs: Path
    seconds: Mapping[str, float]
    keep_going: bool
    force: bool
    helpers: int | None
    failed: dict[str, str] = field(default_factory=dict)
    _running: dict[str, float] = field(default_factory=dict)  # and when each started
    _ended: Counter[str] = field(default_factory=Counter)  # how many ended in which way
    _attempts: Counter[str] = field(default_factory=Counter)
    _helpers: dict[str, str] = field(default_factory=dict)  # {helper: its stage, empty once it is told to end}
    _started: Counter[str] = field(default_factory=Counter)  # helpers of each stage
    _lost: Counter[str] = field(default_factory=Counter)  # of them

    def __post_init__(self) -> None:
        self._schedule = Schedule(self.pipeline.upstream, self.seconds)
        self._began, self._offers = time.monotonic(), self.logs / "offers"
        self._expected = self._schedule.seconds_left({}, self.pool.workers)

    def run(self, stop: threading.Event) -> None:
        """Runs until nothing is left, nothing can start after a failure, or `stop` is set."""
        shutil.rmtree(self._offers, ignore_errors=True)
        self._offers.mkdir(parents=True)
        try:
            while not stop.is_set():
                can_start = self.keep_going or not self.failed
                ready = self._schedule.ready() if can_start else ()  # the most urgent first
                name = next((stage for stage in ready if self.pool.has_room(stage)), None)
                if name is not None:
                    self._begin(name)
                elif not self._running:
                    break
                else:
                    self._share_workers(wanted=len(ready))
                self._take(self.pool.wait(0 if name else POLL_SECONDS))
                self.pipeline.write_lock()
            if stop.is_set():
                say(f"stopping {len(self._running)} stages")
                self._take([result for result in self.pool.stop() if result.code == 0])
        finally:
            self.pipeline.write_lock(now=True)

    def summary(self) -> str:
        """Returns "12 done, 3 restored, 29 unchanged in 2 min"."""
        counts = {"waiting": len(self._schedule.waiting), "running": len(self._running), **self._ended}
        parts = [f"{counts[state]} {state}" for state in COUNTED if counts.get(state)]
        return f"{', '.join(parts) or 'no stages'} in {duration(time.monotonic() - self._began)}"

    def _begin(self, name: str) -> None:
        self._schedule.start(name)
        try:
            verdict = self.pipeline.begin(name, force=self.force)
        except UserError as error:
            self._fail(name, [str(error)])
            return
        if verdict == "run":
            self._log(name).write_bytes(b"")
            self._submit(name)
            total, now = len(self.pipeline.upstream), time.monotonic()
            number = total - len(self._schedule.waiting)
            running = {stage: now - started for stage, started in self._running.items()}
            left = self._schedule.seconds_left(running, self.pool.workers)
            done, elapsed = self._expected - left, now - self._began
            say(f"{name}: started ({describe(number, total, left, done=done, elapsed=elapsed)})")
        elif verdict == "restored":
            self._record(name, "restored", "restored from the run cache")
        else:
            self._schedule.finish(name)
            self._end(name, "unchanged")

    def _submit(self, name: str) -> None:
        self._attempts[name] += 1
        self._running[name] = time.monotonic()
        commands, folder, variables = self.pipeline.processes(name)
        if self.helpers != 0 and self.pool.workers > 1:
            variables[OFFERS] = str(self._offers)
        self.pool.submit(name, name, Job(commands, folder, variables, str(self._log(name))))

    def _share_workers(self, *, wanted: int) -> None:
        """Ends helpers where stages need their workers, and starts helpers where no stage does."""
        helping = [helper for helper, stage in self._helpers.items() if stage]
        for helper in helping[: max(0, wanted - (len(self._helpers) - len(helping)))]:
            self._dismiss(helper)
        for stage, offer in () if wanted else offers_of(self._offers):
            if stage not in self._running or self._lost[stage] >= LOSSES or not self.pool.has_room(stage):
                continue
            if self.helpers is None or list(self._helpers.values()).count(stage) < self.helpers:
                self._started[stage] += 1
                helper = f"helper {self._started[stage]} of {stage}"
                python = sys.executable if self.pool.is_local else "python"
                command = (python, "-m", f"{__package__}.helper", str(offer))
                _, folder, variables = self.pipeline.processes(stage)
                self._helpers[helper] = stage
                self.pool.submit(helper, stage, Job((command,), folder, variables, str(self._log(f"{stage}-helpers"))))
                say(f"{stage}: a free worker helps")

    def _dismiss(self, helper: str) -> None:
        self._helpers[helper] = ""
        self.pool.cancel(helper)

    def _take(self, ended: list[Ended]) -> None:
        """Records the stages that ended well, and runs those again that something else than themselves ended."""
        for result in ended:
            if result.name in self._helpers:
                stage = self._helpers.pop(result.name)
                if stage and result.code != 0:
                    self._lost[stage] += 1
                    say(f"{stage}: a helper was lost ({result.reason}). The stage goes on without it")
                continue
            name, attempt = result.name, f"attempt {self._attempts[result.name] + 1} of {ATTEMPTS}"
            for helper in [helper for helper, of in self._helpers.items() if of == name]:
                self._dismiss(helper)
            if result.code == 0:
                self._record(name, "done")
            elif (result.code is None or result.code < 0) and self._attempts[name] < ATTEMPTS:  # not by itself
                with self._log(name).open("a", encoding="utf-8") as log:
                    log.write(f"\n--- {result.reason}; {attempt}\n")
                say(f"{name}: {result.reason}; {attempt}")
                self.pipeline.remove_outputs(name)
                self._submit(name)
            else:
                self._fail(name, [result.reason, *self._last_lines(name)])

    def _record(self, name: str, state: str, message: str = "") -> None:
        """Records a stage in DVC. Only then the stages after it can start."""
        try:
            self.pipeline.record(name)
        except UserError as error:
            self._fail(name, [str(error), *self._last_lines(name)])
            return
        self._schedule.finish(name)
        self._end(name, state, message or state)

    def _fail(self, name: str, lines: list[str]) -> None:
        """Prints why a stage failed, also with --quiet, and skips the stages after it."""
        self.failed[name] = lines[0]
        self._end(name, "failed")
        print("\n".join([f"failed: {name}", *(f"  {line}" for line in lines)]), file=sys.stderr, flush=True)  # noqa: T201
        for dropped in self._schedule.drop_after(name):
            self._end(dropped, "skipped", f"skipped, because {name} failed")
        if not self.keep_going and self._running:
            say(f"no other stage starts; waiting for {', '.join(self._running)}")

    def _end(self, name: str, state: str, message: str = "") -> None:
        """Notes how a stage ended, one of COUNTED, and prints `message` with the time that it ran."""
        self._ended[state] += 1
        started = self._running.pop(name, None)
        if message:
            say(f"{name}: {message}{'' if started is None else f' after {duration(time.monotonic() - started)}'}")

    def _log(self, name: str) -> Path:
        return self.logs / f"{name.replace('/', '_')}.log"

    def _last_lines(self, name: str) -> list[str]:
        """The end of the stage's log, and where the rest is."""
        log = self._log(name)
        if not log.is_file():
            return []
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        return [*(f"| {Text.from_ansi(line).plain}" for line in lines), f"its whole output: {log}"]


def say(message: str) -> None:
    """Prints a line with the time. Not with --quiet."""
    if not is_quiet():
        print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)  # noqa: T201


class Schedule:
    """The stages of a graph, and how far they are.

    `upstream` has for each stage those that it waits for, all of them keys. `seconds` is the expected time of a stage.
    Of the stages that are ready, the one with the longest path behind it comes first, so that the run ends early.
    """

    def __init__(self, upstream: Mapping[str, Collection[str]], seconds: Mapping[str, float]) -> None:
        self._upstream = {name: upstream[name] for name in TopologicalSorter(upstream).static_order()}
        self._seconds = {name: seconds.get(name, 0.0) for name in self._upstream}
        self._behind = dict(self._seconds)  # the longest path from the start of a stage
        for name, waits_for in reversed(self._upstream.items()):
            for before in waits_for:
                self._behind[before] = max(self._behind[before], self._seconds[before] + self._behind[name])
        self._finished: set[str] = set()
        self.waiting = dict.fromkeys(self._upstream)

    def ready(self) -> list[str]:
        """Returns the stages that can start now, the most urgent first."""
        ready = (name for name in self.waiting if self._finished.issuperset(self._upstream[name]))
        return sorted(ready, key=lambda name: (-self._behind[name], name))

    def start(self, name: str) -> None:
        """Takes a stage out of those that wait."""
        del self.waiting[name]

    def finish(self, name: str) -> None:
        """Notes that a stage has ended well. What waited for it alone becomes ready."""
        self._finished.add(name)

    def drop_after(self, name: str) -> list[str]:
        """Takes out all stages behind one that failed, and returns them."""
        dropped = [stage for stage in self.behind(name) if stage in self.waiting]
        for stage in dropped:
            self.start(stage)
        return dropped

    def behind(self, name: str) -> list[str]:
        """Returns all stages that depend on this one, directly or not."""
        behind = {name: None}
        for stage, waits_for in self._upstream.items():
            if not behind.keys().isdisjoint(waits_for):
                behind[stage] = None
        return [*behind][1:]

    def seconds_left(self, running: Mapping[str, float], workers: int) -> float:
        """Returns a lower bound of the time to the end. `running` has how long each running stage has run.

        It is the longest path, or the whole work divided by the workers if that is more.
        """
        left = {name: max(0.0, self._seconds[name] - elapsed) for name, elapsed in running.items()}
        paths = [self._behind[name] - self._seconds[name] + rest for name, rest in left.items()]
        paths += [self._behind[name] for name in self.waiting]
        work = sum(left.values()) + sum(self._seconds[name] for name in self.waiting)
        return max([work / workers, *paths], default=0.0)
