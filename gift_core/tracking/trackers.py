"""What a tracker is, and the two that there are: MLflow, and Weights & Biases.

Their packages are imported when a run starts.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Point = tuple[int, Mapping[str, float]]  # the iteration, and values by name
DATABASE = "mlflow.db"  # the name that `mlflow ui` looks for
KEY = "gift.key"
BATCH = 1000  # metrics that MLflow accepts at once, and
PARAMS = 100  # settings
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


class Tracker(Protocol):
    """A place to which runs are sent. Every method may raise anything."""

    def start(self, run: RunDescription, *, training: bool) -> None:
        """Opens the run with the key of `run`, or makes it.

        `training` says that losses follow: then a finished run is not continued, and a new one is made.
        """

    def log(self, points: Sequence[Point]) -> None:
        """Adds points to the curves of the run."""

    def log_scores(self, scores: Mapping[str, float]) -> None:
        """Sets values that have no iteration, such as accuracies."""

    def finish(self, *, complete: bool) -> None:
        """Closes the run. An incomplete one was interrupted or failed, and may be continued."""


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
        known = self.client.get_experiment_by_name(run.experiment)
        experiment = str(known.experiment_id if known else self.client.create_experiment(run.experiment))
        found = self.client.search_runs([experiment], f"tags.`{KEY}` = '{run.key}'", order_by=["start_time DESC"])
        if found and not (training and found[0].info.status == "FINISHED"):
            self.run_id = found[0].info.run_id
            if training:
                self.client.update_run(self.run_id, status="RUNNING")
            return
        tags = {KEY: run.key, "gift.experiment": run.experiment}
        self.run_id = self.client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in run.settings.items()]
        for first in range(0, len(params), PARAMS):
            self.client.log_batch(self.run_id, params=params[first : first + PARAMS])

    def log(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for step, values in points for name, value in values.items()]
        for first in range(0, len(metrics), BATCH):
            self.client.log_batch(self.run_id, metrics=metrics[first : first + BATCH])

    def log_scores(self, scores: Mapping[str, float]) -> None:
        self.log([(0, scores)])

    def finish(self, *, complete: bool) -> None:
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
