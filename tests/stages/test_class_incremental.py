"""The class-incremental protocol through the real commands: two miniature tasks, fine-tuned, tested and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.artifacts.predictions import read_predictions
from gift_core.artifacts.task import iterate_task
from gift_core.clip.test_set import choose_images
from gift_core.seeds import seed_for
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
    said = []
    for task in TASKS:
        experiment.succeed("ingest", task)
        experiment.succeed("finetune", "finetune", task)
        said.append(experiment.succeed("evaluate", "finetune", task))
    assert "on 35 test images of all classes so far" in said[0] and "on 70 test images" in said[1]
    rows, _ = read_accuracy(experiment.layout.accuracy("finetune", "arrows"))
    assert set(rows.protocol) == {"class_incremental"}
    assert rows[["step", "eval_task", "n"]].to_records(index=False).tolist() == [(-1, "arrows", 70), (1, "arrows", 70)]
    experiment.succeed("report")
    shown = RUNNER.invoke(app, ["show", "--root", str(root)]).output
    assert "Avg" in shown and "Transfer" not in shown and "lower is better" not in shown
    computed = RUNNER.invoke(app, ["metrics", "--json", str(root / "data/6_accuracy/finetune")])
    stored = json.loads((root / "reports/metrics.json").read_text())
    last = {method: round(row["last"], 2) for method, row in json.loads(computed.stdout).items()}
    assert last == {method: row["last"] for method, row in stored.items()}
    assert list(stored) == ["zero_shot", "finetune"]


def test_a_limit_of_test_images_goes_from_params_to_the_report(experiment: Experiment) -> None:
    experiment.params["run"]["methods"] = ["zero_shot"]
    experiment.params["sequence"] = experiment.params["sequence"][:1]
    experiment.params["evaluation"] |= {"max_images": 25}
    experiment.write(experiment.params)
    experiment.succeed("import_model")
    experiment.succeed("ingest", TASKS[0])
    experiment.succeed("finetune", "zero_shot", TASKS[0])
    assert "on 25 test images of all classes so far" in experiment.succeed("evaluate", "zero_shot", TASKS[0])
    accuracy = experiment.layout.accuracy("zero_shot", TASKS[0])
    rows, metadata = read_accuracy(accuracy)
    assert (set(rows.n), metadata["max_images"]) == ({25}, "25")
    predictions, _ = read_predictions(experiment.layout.predictions("zero_shot", TASKS[0]))
    stored = [label for _, label in iterate_task(experiment.layout.task(TASKS[0]), "test")]
    seed = seed_for("test images", experiment.params["seed"], TASKS[0])
    chosen = choose_images(stored, 25, seed=seed)
    assert predictions[predictions.step == 0].image.tolist() == chosen
    experiment.succeed("report")
    page = (experiment.folder / "reports" / "index.html").read_text(encoding="utf-8")
    assert "25 of 35 test images" in page
    experiment.params["evaluation"] |= {"max_images": None}
    experiment.write(experiment.params)
    assert "evaluation.max_images was 25, it is empty" in experiment.fail("report")


def test_a_model_a_task_is_refused_before_anything_runs(experiment: Experiment) -> None:
    experiment.params["run"]["methods"] = ["individual"]
    experiment.write(experiment.params)
    message = experiment.fail("import_model")
    assert "run.methods: individual has one model per task" in message
    assert "evaluation.protocol: task_incremental" in message
    assert not experiment.layout.pretrained().exists()
