"""Runs in MLflow: on the server of MLFLOW_TRACKING_URI, without it in mlflow.db of the project's folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gift_core.tracking.tracked_run import Point, RunDescription

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


class MlflowTracker:
    """An MLflow run for each model. Its tag gift.key is the hash of the model's provenance."""

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
        experiment = self._experiment(run.experiment)
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

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self.client.create_experiment(name))
