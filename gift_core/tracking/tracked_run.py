"""A tracked run: losses and scores go to the tracker that GIFT_TRACKING names. What fails there stops nothing here.

The trackers are MLflow, and Weights & Biases. Each has the methods of MlflowTracker, and any of them may raise
anything. Their packages are imported when a run starts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gift_core.errors import UserError, lookup
from gift_core.process_variables import TRACKING
from gift_core.untrusted import leaves

logger = logging.getLogger(__name__)
NONE = "none"
MAX_POINTS = 500  # of each loss in a run. losses.jsonl has all of them
SEND_INTERVAL = 2.0  # seconds
# What the same training writes differently on another machine, so it is no part of a run's key.
_NOT_IN_KEY = ("environment", "weights_sha256", "files_sha256")
Point = tuple[int, Mapping[str, float]]  # the iteration, and values by name
DATABASE = "mlflow.db"  # the name that `mlflow ui` looks for
KEY = "gift.key"
BATCH = 100  # settings that MLflow accepts at once; of metrics it accepts more
# A server that is down should cost seconds, where MLflow would wait for minutes.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
ITERATION = "iteration"


@dataclass(frozen=True)
class RunDescription:
    """What a tracker shows of a run.

    Attributes:
        key: the hash of the provenance, 32 hexadecimal digits. A run that is interrupted and resumed keeps it.
        experiment: the name in params.yaml, under which the tracker lists the run.
        name: such as "gift/birds".
        settings: the provenance, flat: {"training.iterations": 100, ...}.
    """

    key: str
    experiment: str
    name: str
    settings: Mapping[str, str | int | float | bool]


class MlflowTracker:
    """An MLflow run for each model. Its tag gift.key is the hash of the model's provenance.

    It is on the server of MLFLOW_TRACKING_URI, without it in mlflow.db of the project's folder.
    """

    def __init__(self, root: Path) -> None:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / DATABASE).resolve()}"
        self.client: Any = MlflowClient(tracking_uri=uri)
        self.run_id = ""

    def start(self, run: RunDescription, *, training: bool) -> None:
        """Opens the run with the key of `run`, or makes it.

        `training` says that losses follow: then a finished run is not continued, and a new one is made.
        """
        known = self.client.get_experiment_by_name(run.experiment)
        experiment = str(known.experiment_id if known else self.client.create_experiment(run.experiment))
        former = self.client.search_runs([experiment], f"tags.`{KEY}` = '{run.key}'", order_by=["start_time DESC"])
        if former and not (training and former[0].info.status == "FINISHED"):
            self.run_id = former[0].info.run_id
            if training:
                self.client.update_run(self.run_id, status="RUNNING")
            return
        tags = {KEY: run.key, "gift.experiment": run.experiment}
        self.run_id = self.client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
        from mlflow.entities import Param

        self._send("params", [Param(name, str(value)) for name, value in run.settings.items()])

    def _send(self, kind: str, values: list[Any]) -> None:
        for first in range(0, len(values), BATCH):
            self.client.log_batch(self.run_id, **{kind: values[first : first + BATCH]})

    def log(self, points: Sequence[Point]) -> None:
        """Adds points to the curves of the run."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for step, values in points for name, value in values.items()]
        self._send("metrics", metrics)

    def log_scores(self, scores: Mapping[str, float]) -> None:
        """Sets values that have no iteration, such as accuracies."""
        self.log([(0, scores)])

    def finish(self, *, complete: bool) -> None:
        """Closes the run. An incomplete one was interrupted or failed, and may be continued."""
        self.client.set_terminated(self.run_id, status="FINISHED" if complete else "KILLED")


class WandbTracker:
    """A W&B run for each model. Its id is the hash of the model's provenance, so a resumed run continues.

    It is in the folder wandb/ of the project, or on its server with WANDB_MODE=online.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run: Any = None

    def start(self, run: RunDescription, *, training: bool) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_MODE", "offline")  # online, wandb may ask for a key and wait
        import wandb

        self.run = wandb.init(
            project=re.sub(r"[/\\#?%:]", "-", run.experiment),
            id=run.key,
            name=run.name,
            resume="allow",
            config=dict(run.settings),
            dir=self.root,
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
        if training:
            self.run.define_metric("*", step_metric=ITERATION)

    def log(self, points: Sequence[Point]) -> None:
        for iteration, values in points:
            self.run.log({**values, ITERATION: iteration})

    def log_scores(self, scores: Mapping[str, float]) -> None:
        self.run.summary.update(dict(scores))

    def finish(self, *, complete: bool) -> None:
        self.run.finish(exit_code=0 if complete else 1)


Tracker = MlflowTracker | WandbTracker
# By the value of GIFT_TRACKING, which is also the name of the package and of the extra.
TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}


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
        remedy = f"Run: pip install 'gift-pipeline[{name}]', or unset {TRACKING}."
        raise UserError(f"{TRACKING}={name}: the package {name} is not installed. {remedy}")


@contextmanager
def tracked_run(describe_run: Callable[[], RunDescription], root: Path, *, iterations: int = 0) -> Iterator[TrackedRun]:
    """Yields the run, to log to, and closes it. Without GIFT_TRACKING it does nothing.

    `root` is the project's folder, where a tracker without a server writes. `iterations`: how many losses follow, none
    for a run that only gets scores. The first failure of the tracker is a warning, and the last
    thing that is heard of it.
    """
    run = TrackedRun(max(1, math.ceil(iterations / MAX_POINTS)), iterations)
    complete = False
    with run.surviving():
        require_tracker()
        name = _chosen()
        if name != NONE:
            run.tracker = TRACKERS[name](root)
            run.tracker.start(describe_run(), training=iterations > 0)
    try:
        yield run
        complete = True
    finally:
        run.send()
        with run.surviving():
            if run.tracker is not None:
                run.tracker.finish(complete=complete)


@dataclass
class TrackedRun:
    """What a stage logs to. `tracker` is None where nothing is tracked (any more)."""

    stride: int
    iterations: int
    tracker: Tracker | None = None
    _waiting: list[Point] = field(default_factory=list)
    _sent_at: float = field(default_factory=lambda: time.monotonic())

    def log_losses(self, row: Mapping[str, float]) -> None:
        """Logs the losses of an iteration: at most MAX_POINTS rows of a run, the last one always, sent in batches."""
        iteration = int(row["iteration"])
        if self.tracker is None or (iteration % self.stride and iteration + 1 != self.iterations):
            return
        values = {name if name == "learning_rate" else f"loss/{name}": value for name, value in row.items()}
        values.pop("loss/iteration")
        self._waiting.append((iteration, values))
        if time.monotonic() - self._sent_at >= SEND_INTERVAL:
            self.send()

    def log_scores(self, scores: Mapping[str, float | None]) -> None:
        """Logs values in percent. Those that do not exist are left out."""
        with self.surviving():
            if self.tracker is not None:
                self.tracker.log_scores({name: value for name, value in scores.items() if value is not None})

    def send(self) -> None:
        with self.surviving():
            if self.tracker is not None and self._waiting:
                self.tracker.log(self._waiting)
        self._waiting = []
        self._sent_at = time.monotonic()

    @contextmanager
    def surviving(self) -> Iterator[None]:
        """Turns the first error of the tracker into a warning. Nothing is tracked any more after it."""
        try:
            yield
        except Exception as error:  # of any library and any server
            self.tracker = None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            name = os.environ.get(TRACKING)
            logger.warning(f"warning: tracking with {name} failed, the stage goes on without it: {reason}")


def _chosen() -> str:
    name = os.environ.get(TRACKING) or NONE
    lookup(dict.fromkeys((NONE, *TRACKERS)), name, TRACKING)
    return name
