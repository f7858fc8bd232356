"""A task of image-caption pairs between two tasks of classes, and other protocols, through the real commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.artifacts.predictions import read_predictions
from gift_core.artifacts.prompt_files import read_vocabulary
from gift_core.artifacts.task import index_task, read_task
from gift_core.report.predicted_images import CAPTIONS_SHOWN
from tests.stages.experiment import Experiment, invoke, tiny

TASKS = ["games", "scenes", "arrows"]


@pytest.fixture
def experiment(tmp_path: Path, mini_params: dict[str, Any]) -> Experiment:
    params = tiny(mini_params, tasks=TASKS)
    params["tasks"]["scenes"]["vocabulary_captions"] = 12
    params["run"] |= {"methods": ["gift", "icarl", "lwf", "joint"]}
    params["methods"]["gift"]["release"] = {"kind": "interpolate", "alpha": 0.5}
    return Experiment(tmp_path, params)


def test_pairs_are_learned_replayed_tested_and_reported(experiment: Experiment) -> None:
    layout = experiment.layout
    experiment.succeed("import_model")
    experiment.succeed("write_vocabulary")
    said = {task: experiment.learn(task) for task in TASKS}
    assert "80 train captions, 70 test captions, 40 training images, 35 test images" in said["scenes"]
    assert "40 images with 80 captions, 3 iterations" in said["scenes"]

    info = read_task(layout.task("scenes"))
    assert (info.kind, len(info.class_names)) == ("pairs", 12)
    own = [entry for entry in read_vocabulary(layout.vocabulary("scenes")) if entry.source_task == "scenes"]
    assert [(entry.class_name, entry.templates) for entry in own] == [(each, ("{}",)) for each in info.class_names]
    captions = {each for image in index_task(layout.task("scenes"), "train") for each in image.captions}
    assert set(info.class_names) <= captions

    require_recalls(experiment)
    experiment.succeed("report")
    metrics = json.loads((layout.reports() / "metrics.json").read_text())
    assert set(metrics) == {"zero_shot", "gift", "icarl", "lwf", "joint"}
    page = (layout.reports() / "index.html").read_text(encoding="utf-8")
    assert "Of scenes, which has captions, Recall@1: the mean of both directions." in page
    assert 'id="retrieval"' in page and "The right image." in page and "80 captions" not in page
    assert page.count('class="task-row retrieved"') == CAPTIONS_SHOWN


def require_recalls(experiment: Experiment) -> None:
    """The accuracy is Recall@1, the mean of both directions, of the predictions of the same step."""
    rows, _ = read_accuracy(experiment.layout.accuracy("gift", "arrows"))
    predictions, _ = read_predictions(experiment.layout.predictions("gift", "arrows"))
    test = predictions[(predictions.step == 2) & (predictions.task == "scenes")]
    recall = test.assign(right=test["rank"] == 1).groupby("query", observed=True)["right"].mean()
    own: pd.Series = rows[(rows.step == 2) & (rows.eval_task == "scenes")].iloc[0]
    assert sorted(recall.index) == ["caption", "image"] and own.n == 35
    assert own.top1 == pytest.approx((recall["caption"] + recall["image"]) / 2)
    assert set(predictions[predictions.task == "games"]["query"]) == {"class"}
    asked = ("--root", str(experiment.folder), "--device", "cpu", "--json")
    tested = invoke("test", str(experiment.layout.released("gift", "arrows")), "scenes", *asked)
    assert json.loads(tested.stdout)["recall_at_1"] == pytest.approx(own.top1)


def test_other_protocols_and_a_wrong_row_are_refused_before_anything_runs(experiment: Experiment) -> None:
    experiment.params["run"]["methods"] += ["individual"]
    for protocol in ("class_incremental", "cross_domain"):
        experiment.params["evaluation"] |= {"protocol": protocol}
        experiment.write(experiment.params)
        message, why = experiment.fail("import_model"), f"but {protocol} tests one model on the classes of all tasks"
        assert f"sequence: scenes has captions, {why}" in message
        assert f"run.methods: individual has one model per task, {why}" in message
        assert not experiment.layout.pretrained().exists()
    experiment.params["evaluation"] |= {"protocol": "task_incremental"}
    del experiment.params["tasks"]["scenes"]["vocabulary_captions"]
    experiment.write(experiment.params)
    assert "tasks.scenes.vocabulary_captions: missing, and the data set has captions" in experiment.fail(
        "ingest", "scenes"
    )


def test_a_class_incremental_run_from_the_images_to_the_table(tmp_path: Path, mini_params: dict[str, Any]) -> None:
    mini_params["run"] |= {"methods": ["finetune"]}
    mini_params["evaluation"] |= {"protocol": "class_incremental"}
    experiment = Experiment(tmp_path, tiny(mini_params))
    experiment.succeed("import_model")
    for task in ("games", "arrows"):
        experiment.succeed("ingest", task)
        experiment.succeed("finetune", "finetune", task)
        experiment.succeed("evaluate", "finetune", task)
    rows, _ = read_accuracy(experiment.layout.accuracy("finetune", "arrows"))
    assert set(rows.protocol) == {"class_incremental"}
    assert rows[["step", "eval_task", "n"]].to_records(index=False).tolist() == [(-1, "arrows", 70), (1, "arrows", 70)]
    experiment.succeed("report")
    shown = invoke("show", "--root", tmp_path).output
    assert "Avg" in shown and "Transfer" not in shown and "lower is better" not in shown
    assert list(json.loads((tmp_path / "reports/metrics.json").read_text())) == ["zero_shot", "finetune"]
