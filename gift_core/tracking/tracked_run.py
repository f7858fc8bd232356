"""A tracked run: losses and scores go to the tracker that GIFT_TRACKING names. What fails there stops nothing here."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from gift_core.errors import UserError, lookup
from gift_core.tracking.trackers import MlflowTracker, Point, RunDescription, Tracker, WandbTracker
from gift_core.untrusted import leaves

VARIABLE = "GIFT_TRACKING"
NONE = "none"
MAX_POINTS = 500  # of each loss in a run. losses.jsonl has all of them
SEND_INTERVAL = 2.0  # seconds
# What the same training writes differently on another machine, so it is no part of a run's key.
_NOT_IN_KEY = ("environment", "weights_sha256", "files_sha256")


def describe(provenance: Mapping[str, Any], experiment: str) -> RunDescription:
    """Returns the run of the model that `provenance` (provenance.json) describes. It is the same before training."""
    settings = {name: value for name, value in provenance.items() if name not in _NOT_IN_KEY}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]
    name = f"{provenance.get('method')}/{provenance.get('task')}"
    shown = {key: value for key, value in leaves(settings) if value is not None and value != {}}
    values = {key: value if isinstance(value, str | int | float) else json.dumps(value) for key, value in shown.items()}
    return RunDescription(key, experiment, name, values)


def require_tracker() -> None:
    """Raises UserError if GIFT_TRACKING names no tracker, or one whose package is not installed."""
    name = _chosen()
    if name != NONE and find_spec(name) is None:
        remedy = f"Run: pip install 'gift-pipeline[{name}]', or unset {VARIABLE}."
        raise UserError(f"{VARIABLE}={name}: the package {name} is not installed. {remedy}")


@contextmanager
def tracked_run(
    describe_run: Callable[[], RunDescription],
    root: Path,
    *,
    iterations: int = 0,
    say: Callable[[str], None],
) -> Iterator[TrackedRun]:
    """Yields the run, to log to, and closes it. Without GIFT_TRACKING it does nothing.

    `root` is the project's folder, where a tracker without a server writes. `iterations`: how many losses follow, none
    for a run that only gets scores. The first failure of the tracker is a warning through `say`, and the last thing
    that is heard of it.
    """
    run, complete = TrackedRun(say, max(1, math.ceil(iterations / MAX_POINTS)), iterations), False
    with run.surviving():
        require_tracker()
        if (name := _chosen()) != NONE:
            run.tracker = TRACKERS[name](root)
            run.tracker.start(describe_run(), training=iterations > 0)
    try:
        yield run
        complete = True
    finally:
        run.finish(complete=complete)


@dataclass
class TrackedRun:
    """What a stage logs to. `tracker` is None where nothing is tracked (any more)."""

    say: Callable[[str], None]
    stride: int
    iterations: int
    tracker: Tracker | None = None
    _waiting: list[Point] = field(default_factory=list)
    _sent_at: float = field(default_factory=lambda: monotonic())

    def log_losses(self, row: Mapping[str, float]) -> None:
        """Logs the losses of an iteration: at most MAX_POINTS rows of a run, the last one always, sent in batches."""
        iteration = int(row["iteration"])
        if self.tracker is None or (iteration % self.stride and iteration + 1 != self.iterations):
            return
        values = {name if name == "learning_rate" else f"loss/{name}": value for name, value in row.items()}
        values.pop("loss/iteration")
        self._waiting.append((iteration, values))
        if monotonic() - self._sent_at >= SEND_INTERVAL:
            self._send()

    def log_scores(self, scores: Mapping[str, float | None]) -> None:
        """Logs values in percent. Those that do not exist are left out."""
        with self.surviving():
            if self.tracker is not None:
                self.tracker.log_scores({name: value for name, value in scores.items() if value is not None})

    def finish(self, *, complete: bool) -> None:
        """Sends what waits, and closes the run."""
        self._send()
        with self.surviving():
            if self.tracker is not None:
                self.tracker.finish(complete=complete)

    def _send(self) -> None:
        with self.surviving():
            if self.tracker is not None and self._waiting:
                self.tracker.log(self._waiting)
        self._waiting = []
        self._sent_at = monotonic()

    @contextmanager
    def surviving(self) -> Iterator[None]:
        """Turns the first error of the tracker into a warning. Nothing is tracked any more after it."""
        try:
            yield
        except Exception as error:  # of any library and any server
            self.tracker = None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            name = os.environ.get(VARIABLE)
            self.say(f"warning: tracking with {name} failed, the stage goes on without it: {reason}")


# By the value of GIFT_TRACKING, which is also the name of the package and of the extra.
TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}


def _chosen() -> str:
    name = os.environ.get(VARIABLE) or NONE
    lookup(dict.fromkeys((NONE, *TRACKERS)), name, VARIABLE)
    return name
