"""What real stages send to MLflow and W&B, with real local stores. A tracker never changes or stops them."""

from __future__ import annotations

import copy
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from typer.testing import Result

from gift_core.artifacts.accuracy import write_empty_accuracy
from gift_core.artifacts.model_folder import read_provenance
from gift_core.errors import UserError
from gift_core.method.training import loop
from gift_core.tracking import tracked_run as tracking
from gift_core.tracking.tracked_run import describe, require_tracker
from stages.report import track_metrics
from tests.clone import content
from tests.tiny_world import TinyExperiment, make_world

ITERATIONS = 5


class Experiment(TinyExperiment):
    """The stages of plain fine-tuning on a tiny world."""

    def __init__(self, root: Path, params: dict[str, Any]) -> None:
        row, params["experiment"] = params["methods"]["finetune"], root.name
        super().__init__(make_world(root), params, "finetune", row, iterations=ITERATIONS, probes=("letters",))
        write_empty_accuracy(self.layout.pretrained_accuracy(), {})

    def train(self) -> Result:
        self.gift("teach", "finetune", "digits")
        return self.gift("finetune", "finetune", "digits")

    def key(self) -> str:
        """That of the tracked run of the model."""
        return describe(read_provenance(self.layout.model("finetune", "digits")), self.layout.root.name).key


Make = Callable[[str], Experiment]


@pytest.fixture
def make(tmp_path: Path, mini_params: dict[str, Any]) -> Make:
    return lambda name: Experiment(tmp_path / name, copy.deepcopy(mini_params))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an empty MLflow database. It takes seconds to make, so the tests share it."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def client(database: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("GIFT_TRACKING", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    return MlflowClient(tracking_uri=database)


def runs_of(client: MlflowClient, name: str) -> list[Any]:
    """The runs of the experiment called `name`, the oldest first."""
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])) if experiment else []


def steps_of(client: MlflowClient, run: Any, name: str) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run.info.run_id, name)]


def test_mlflow_has_settings_losses_and_accuracies_of_a_model(make: Make, client: MlflowClient) -> None:
    plain = make("accuracies")
    plain.train()
    plain.gift("finetune", "finetune", "birds")  # the world has made its model without a pipeline
    plain.gift("probe", "letters")
    plain.gift("evaluate", "finetune", "birds")
    plain.gift("evaluate", "finetune", "digits")
    run = next(each for each in runs_of(client, "accuracies") if each.info.run_name == "finetune/digits")
    assert run.info.status == "FINISHED"
    assert run.data.tags["gift.key"] == plain.key()
    assert run.data.tags["gift.experiment"] == "accuracies"
    assert run.data.params["training.iterations"] == str(ITERATIONS)
    assert run.data.params["settings.learning_rate"] == str(plain.row.learning_rate)
    assert steps_of(client, run, "loss/task") == list(range(ITERATIONS))
    logged = [metric.value for metric in client.get_metric_history(run.info.run_id, "loss/total")]
    lines = (plain.layout.model("finetune", "digits") / "losses.jsonl").read_text().splitlines()
    assert logged == [json.loads(line)["total"] for line in lines]
    tests = {name for name in run.data.metrics if name.startswith(("accuracy", "probe"))}
    assert tests == {"accuracy/birds", "accuracy/digits", "probe/letters"}
    assert 0 <= run.data.metrics["accuracy/digits"] <= 100
    metrics = {"finetune": {"last": 80.0, "transfer": None, "probes": {"mean": 57.0, "change": -12.7, "by_task": {}}}}
    track_metrics(replace(plain.stage, stage="report", method=""), metrics)
    logged = client.get_run(run.info.run_id).data.metrics
    assert [logged[name] for name in ("last", "zero_shot_kept", "zero_shot_change")] == [80, 57, -12.7]


@pytest.mark.usefixtures("every_snapshot")
def test_a_resumed_run_continues_the_same_tracked_run_and_a_tracked_model_has_the_same_bytes(
    make: Make, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, update, updates = make("resumed"), loop.WeightUpdate.__call__, iter(range(3))

    def stop_at_3(self: Any, learning_rate: float) -> Any:
        if next(updates, None) is None:
            raise KeyboardInterrupt
        return update(self, learning_rate)

    with monkeypatch.context() as patch:
        patch.setattr(loop.WeightUpdate, "__call__", stop_at_3)
        experiment.gift("teach", "finetune", "digits")
        experiment.gift("finetune", "finetune", "digits", expect=130)
    (interrupted,) = runs_of(client, "resumed")
    assert (interrupted.info.status, steps_of(client, interrupted, "loss/task")) == ("KILLED", [0, 1, 2])
    experiment.gift("finetune", "finetune", "digits")
    (run,) = runs_of(client, "resumed")
    assert (run.info.status, steps_of(client, run, "loss/task")) == ("FINISHED", [0, 1, 2, 3, 4])
    experiment.gift("finetune", "finetune", "digits")  # again from the start: another run
    assert [steps_of(client, each, "loss/task") for each in runs_of(client, "resumed")] == [[0, 1, 2, 3, 4]] * 2
    tracked = content(experiment.layout.model("finetune", "digits"))
    monkeypatch.delenv("GIFT_TRACKING")
    plain = make("plain")
    plain.train()
    assert runs_of(client, "plain") == []
    assert content(plain.layout.model("finetune", "digits")) == tracked


def test_a_server_that_is_down_is_one_warning(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("GIFT_TRACKING", "mlflow")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        experiment = make("down")
        said = experiment.train().output
    assert said.count("warning: tracking with mlflow failed, the stage goes on without it: ") == 1
    assert (experiment.layout.model("finetune", "digits") / "provenance.json").is_file()


def test_wandb_writes_the_run_to_a_local_folder(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFT_TRACKING", "wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    experiment = make("offline")
    experiment.train()
    (file,) = (experiment.layout.root / "wandb").glob(f"offline-run-*/run-{experiment.key()}.wandb")
    written = file.read_bytes()  # a log of uncompressed records
    assert b"finetune/digits" in written and written.count(b"loss/task") >= ITERATIONS


def test_a_missing_package_and_an_unknown_tracker_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFT_TRACKING", "mlflow")
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"Run: pip install 'gift-pipeline\[mlflow\]', or unset GIFT_TRACKING\."):
        require_tracker()
    monkeypatch.setenv("GIFT_TRACKING", "mlfow")
    unknown = r"GIFT_TRACKING: unknown name 'mlfow'\. Did you mean 'mlflow'\? Known: mlflow, none, wandb\."
    with pytest.raises(UserError, match=unknown):
        require_tracker()
