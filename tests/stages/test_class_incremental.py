"""The protocols with one model for the classes of all tasks, through the real commands and two miniature tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.accuracy import read_accuracy
from stages.app import app
from tests.stages.experiment import RUNNER, TASKS, Experiment, tiny


@pytest.fixture
def experiment(tmp_path: Path, mini_params: dict[str, Any]) -> Experiment:
    mini_params["run"] |= {"methods": ["finetune"]}
    mini_params["evaluation"] |= {"protocol": "class_incremental"}
    return Experiment(tmp_path, tiny(mini_params))


def test_a_class_incremental_run_from_the_images_to_the_table(experiment: Experiment) -> None:
    root = experiment.folder
    experiment.succeed("import_model")
    for task in TASKS:
        experiment.succeed("ingest", task)
        experiment.succeed("finetune", "finetune", task)
        experiment.succeed("evaluate", "finetune", task)
    rows, _ = read_accuracy(experiment.layout.accuracy("finetune", "arrows"))
    assert set(rows.protocol) == {"class_incremental"}
    assert rows[["step", "eval_task", "n"]].to_records(index=False).tolist() == [(-1, "arrows", 70), (1, "arrows", 70)]
    experiment.succeed("report")
    shown = RUNNER.invoke(app, ["show", "--root", str(root)]).output
    assert "Avg" in shown and "Transfer" not in shown and "lower is better" not in shown
    assert list(json.loads((root / "reports/metrics.json").read_text())) == ["zero_shot", "finetune"]


@pytest.mark.parametrize("protocol", ["class_incremental", "cross_domain"])
def test_a_model_a_task_is_refused_before_anything_runs(experiment: Experiment, protocol: str) -> None:
    experiment.params["run"]["methods"] = ["individual"]
    experiment.params["evaluation"]["protocol"] = protocol
    experiment.write(experiment.params)
    message = experiment.fail("import_model")
    assert f"but {protocol} tests one model on the classes of all tasks" in message
    assert "run.methods: individual has one model per task" in message
    assert "evaluation.protocol: task_incremental" in message
    assert not experiment.layout.pretrained().exists()
