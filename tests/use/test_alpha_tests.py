"""Learned against kept over alpha: tested under the protocol of the run, stored, and stale after another training."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import pytest
import torch

from gift_core.artifacts.accuracy import SCHEMA, write_accuracy
from gift_core.clip import task_tests
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import save_clip
from gift_core.config.loading import load_config
from gift_core.method.classifier import EncodingSettings
from gift_core.method.evaluation import EvaluationInputs, evaluate_step, newest_model
from gift_core.protocols import CLASS_INCREMENTAL
from gift_core.report.comparison.alpha_curves import curve_of_run, stored_points
from gift_core.use.alpha_tests import store_alpha_curve
from tests.tiny_world import TinyExperiment, load, make_world, moved


@pytest.mark.parametrize("protocol", ["task_incremental", "class_incremental"])
def test_a_curve_has_the_tests_of_every_alpha_and_those_of_the_run(
    tmp_path: Path, mini_params: dict[str, Any], protocol: str
) -> None:
    row = {**mini_params["methods"]["finetune"], "release": {"kind": "interpolate", "alpha": 0.4}}
    mini_params["evaluation"]["protocol"] = protocol
    experiment = TinyExperiment(make_world(tmp_path), mini_params, "finetune", row, iterations=2, probes=["letters"])
    layout, config = experiment.layout, load_config(experiment.params)
    trained = layout.model("finetune", "digits")
    save_clip(moved(load(layout.pretrained()), seed=3, distance=0.2), trained, {"method": "finetune"})
    file, metadata = layout.accuracy("finetune", "digits"), {"model:pretrained": "a", "model:digits": "b"}
    write_accuracy(file, pd.DataFrame(columns=SCHEMA.names), {**metadata, "provenance": "first"})
    settings = EncodingSettings(torch.device("cpu"), "fp32", batch_size=4)
    assert stored_points(layout, config, "finetune") is None
    store_alpha_curve(layout, config, "finetune", folder=tmp_path / "work", settings=settings)

    points = stored_points(layout, config, "finetune")
    assert points is not None and [alpha for alpha, *_ in points] == [0.2, 0.6, 0.8, 1.0]  # 0.4 is the run's
    tests = {
        task: task_tests.test_of(load(trained), settings.open(layout.task(task), CacheBudget(0))).top1
        for task in ("birds", "digits", "letters")
    }
    learned = 100 * fmean((tests["birds"], tests["digits"]))
    if protocol == "class_incremental":
        models = {"pretrained": layout.pretrained(), "birds": trained, "digits": trained}  # birds is not read
        tasks = {task: layout.task(task) for task in ("birds", "digits")}
        inputs = EvaluationInputs("finetune", CLASS_INCREMENTAL, models, tasks, newest_model, settings, {})
        rows = evaluate_step(inputs).rows
        learned = 100 * float(rows.loc[rows["step"] == 1, "top1"].iloc[0])
    assert points[-1] == (1.0, pytest.approx(learned), pytest.approx(100 * tests["letters"]))

    scores = {"zero_shot": {"last": 50.0, "probes": 70.0}, "finetune": {"last": 60.0, "probes": 65.0}}
    curve = curve_of_run(layout, config, "finetune", scores)
    assert curve is not None and curve.alphas.tolist() == [0, 0.2, 0.4, 0.6, 0.8, 1] and curve.chosen == 0.4
    assert (curve.kept[0], curve.learned[0], curve.kept[2], curve.learned[2]) == (70, 50, 65, 60)
    write_accuracy(file, pd.DataFrame(columns=SCHEMA.names), {**metadata, "model:digits": "c", "provenance": "first"})
    assert stored_points(layout, config, "finetune") == points  # another release of the same training
    write_accuracy(file, pd.DataFrame(columns=SCHEMA.names), {**metadata, "provenance": "second"})
    assert stored_points(layout, config, "finetune") is None
