"""The loop of `gift run`: ready stages go to the workers, this process records finished ones in DVC.

It prints one line for each event, and only failures with --quiet.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.errors import UserError
from gift_core.execution.on_node import Job
from gift_core.execution.schedule import Schedule
from gift_core.progress import is_quiet
from gift_core.quantities import duration
from gift_core.work.needs import gpus_of

from .dvc_pipeline import DvcPipeline, Verdict
from .time_left import describe

if TYPE_CHECKING:
    from gift_core.execution.pool import Ended, Pool

POLL_SECONDS = 0.2
ATTEMPTS = 3  # of a stage whose worker is lost or that a signal ends
SHOWN_LINES = 15  # of the log of a failed stage
COLORS = re.compile(r"\x1b\[[0-9;]*m")
COUNTED = ("waiting", "running", "done", "restored", "unchanged", "failed", "skipped")


@dataclass
class RunLoop:
    """One run. `environment` is that of all stages, `seconds` the expected time of each stage that may run.

    After `run`, `failed` has the reason of each stage that failed.
    """

    pipeline: DvcPipeline
    pool: Pool
    log: RunLog
    logs: Path
    environment: Mapping[str, str]
    seconds: dict[str, float]
    gpus_per_stage: float = 1.0
    keep_going: bool = False
    force: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    _attempts: dict[str, int] = field(default_factory=dict)
    _took: float = 0.0  # of the stages that ran to their end, and what was expected of them
    _expected: float = 0.0

    def run(self, stop: threading.Event) -> None:
        """Runs until nothing is left, nothing can start after a failure, or `stop` is set."""
        self._schedule = Schedule(self.pipeline.upstream, self.seconds)
        self.logs.mkdir(parents=True, exist_ok=True)
        try:
            while not stop.is_set():
                name = self._startable()
                if name is not None:
                    self._begin(name)
                elif not self.log.running():
                    break
                self._take(self.pool.wait(0 if name else POLL_SECONDS))
                self.pipeline.write_lock()
            if stop.is_set():
                self.log.say(f"stopping {len(self.log.running())} stages")
                self._take([each for each in self.pool.stop() if each.code == 0])
        finally:
            self.pipeline.write_lock(now=True)

    def _startable(self) -> str | None:
        """The most urgent stage for which there is room."""
        if self.failed and not self.keep_going:
            return None
        return next((name for name in self._schedule.ready() if self.pool.has_room(self._gpus(name))), None)

    def _gpus(self, name: str) -> float:
        return gpus_of(name, self.gpus_per_stage, self.pool.capacity.gpus)

    def _begin(self, name: str) -> None:
        self._schedule.start(name)
        try:
            verdict = self.pipeline.begin(name, force=self.force)
        except UserError as error:
            self._fail(name, [str(error)])
            return
        if verdict is Verdict.RUN:
            self._log(name).write_bytes(b"")
            self.log.start(name)
            self.log.say(f"{name}: started ({self._how_far()})")
            self._submit(name)
        elif verdict is Verdict.RESTORED:
            self._record([name], "restored", "restored from the run cache")
        else:
            self._schedule.finish(name)
            self.log.end(name, "unchanged")

    def _how_far(self) -> str:
        of = len(self.pipeline.upstream)
        left = self._schedule.seconds_left(self.log.running(), self.pool.capacity.workers)
        total = sum(self.seconds.values())
        return describe(
            of - self.log.counts["waiting"], of, left, took=self._took, expected=self._expected, total=total
        )

    def _submit(self, name: str) -> None:
        self._attempts[name] = self._attempts.get(name, 0) + 1
        environment = {**self.environment, **self.pipeline.environment(name)}
        job = Job(self.pipeline.arguments(name), self.pipeline.folder(name), environment, str(self._log(name)))
        self.pool.submit(name, job, self._gpus(name))

    def _take(self, ended: list[Ended]) -> None:
        self._record([each.name for each in ended if each.code == 0], "done")
        for each in ended:
            if each.code == 0:
                continue
            what = (
                f"its worker was lost: {each.reason}" if each.code is None else each.reason or f"exit code {each.code}"
            )
            if each.can_run_again and self._attempts[each.name] < ATTEMPTS:
                self._run_again(each.name, what)
            else:
                self._fail(each.name, [what, *self._last_lines(each.name)])

    def _run_again(self, name: str, reason: str) -> None:
        attempt = f"attempt {self._attempts[name] + 1} of {ATTEMPTS}"
        with self._log(name).open("a", encoding="utf-8") as log:
            log.write(f"\n--- {reason}; {attempt}\n")
        self.log.start(name)
        self.log.say(f"{name}: {reason}; {attempt}")
        self.pipeline.remove_outputs(name)
        self._submit(name)

    def _record(self, names: list[str], state: str, what: str = "") -> None:
        """Records stages in DVC. Only then the stages after them can start."""
        for name in names:
            try:
                self.pipeline.record(name)
            except UserError as error:
                self._fail(name, [str(error), *self._last_lines(name)])
                continue
            self._schedule.finish(name)
            seconds = self.log.end(name, state, what)
            if state == "done":
                self._took += seconds
                self._expected += self.seconds.get(name, 0.0)

    def _fail(self, name: str, lines: list[str]) -> None:
        self.failed[name] = lines[0]
        self.log.end(name, "failed")
        self.log.explain_failure(name, lines)
        skipped = self._schedule.drop_after(name)
        for each in skipped:
            self.log.end(each, "skipped", f"skipped, because {name} failed")
        if not self.keep_going and self.log.running():
            self.log.say(f"no other stage starts; waiting for {', '.join(self.log.running())}")

    def _log(self, name: str) -> Path:
        return self.logs / f"{name.replace('/', '_')}.log"

    def _last_lines(self, name: str) -> list[str]:
        """The end of the stage's log, and where the rest is."""
        log = self._log(name)
        if not log.is_file():
            return []
        lines = COLORS.sub("", log.read_text(encoding="utf-8", errors="replace")).splitlines()
        return [*(f"| {line}" for line in lines[-SHOWN_LINES:]), f"its whole output: {log}"]


class RunLog:
    """The lines of a run, and the state of each stage. `counts` has how many there are of each of COUNTED."""

    def __init__(self, stages: int) -> None:
        self._started = time.monotonic()
        self._running: dict[str, float] = {}
        self.counts = Counter(waiting=stages)

    def running(self) -> dict[str, float]:
        """Returns how many seconds each running stage has run."""
        return {name: time.monotonic() - started for name, started in self._running.items()}

    def start(self, name: str) -> None:
        """Notes that a stage runs, perhaps once more."""
        if name not in self._running:
            self._move("waiting", "running")
        self._running[name] = time.monotonic()

    def end(self, name: str, state: str, what: str = "") -> float:
        """Notes how a stage ended, one of COUNTED. Returns the seconds that it ran, 0 if it did not run."""
        started = self._running.pop(name, None)
        seconds = 0.0 if started is None else time.monotonic() - started
        self._move("waiting" if started is None else "running", state)
        if state not in ("unchanged", "failed"):
            self.say(f"{name}: {what or state}{f' after {duration(seconds)}' if started is not None else ''}")
        return seconds

    def say(self, message: str) -> None:
        """Prints a line with the time. Not with --quiet."""
        if not is_quiet():
            print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)  # noqa: T201

    def explain_failure(self, name: str, lines: Sequence[str]) -> None:
        """Prints why a stage failed, also with --quiet."""
        text = "\n".join([f"failed: {name}", *(f"  {line}" for line in lines)])
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    def summary(self) -> str:
        """Returns "12 done, 3 restored, 29 unchanged in 2 min"."""
        parts = [f"{self.counts[state]} {state}" for state in COUNTED if self.counts[state]]
        return f"{', '.join(parts) or 'no stages'} in {duration(time.monotonic() - self._started)}"

    def _move(self, before: str, after: str) -> None:
        self.counts[before] -= 1
        self.counts[after] += 1
