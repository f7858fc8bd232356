"""The stages that real DVC reads from dvc.yaml with each preset, in their order. No data and no models are needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.overlays import complete_text
from tests.imports import ROOT

SHARED = {"check": 1, "import_model": 1, "write_vocabulary": 1, "report": 1}
# Prints {stage: {deps, outs}} of the pipeline in the working folder, as DVC resolves it.
GRAPH = """
import json
from dvc.repo import Repo
stages = {
    stage.addressing: {"deps": [str(dep) for dep in stage.deps], "outs": [str(out) for out in stage.outs]}
    for stage in Repo(".").index.stages
}
print(json.dumps(stages))
"""


def in_project(preset: str, folder: Path, command: list[str]) -> str:
    """Runs Python in a DVC repository that holds dvc.yaml and the preset alone; returns what it prints."""
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(complete_text(ROOT / "presets" / f"{preset}.yaml"), encoding="utf-8")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def planned(preset: str, folder: Path) -> list[str]:
    """Returns the stages that `dvc repro` would run from nothing, in its order; --force: without their data."""
    printed = in_project(preset, folder, ["-m", "dvc", "repro", "--dry", "--force"])
    return re.findall(r"^Running stage '(.*)':$", printed, re.MULTILINE)


@cache
def read(preset: str) -> dict[str, Any]:
    return yaml.safe_load(complete_text(ROOT / "presets" / f"{preset}.yaml"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("preset", ["mini", "cil_tinyimagenet_5"])  # DVC takes long for each
def test_methods_share_all_but_teach_finetune_and_evaluate(preset: str, tmp_path: Path) -> None:
    params = read(preset)
    steps, methods = len(params["sequence"]), params["run"]["methods"]
    stages = planned(preset, tmp_path)
    expected = Counter(SHARED | {"ingest": len(params["tasks"]), "write_prompts": steps, "synthesize": steps})
    expected += Counter({stage: len(methods) * steps for stage in ("teach", "finetune", "evaluate")})
    assert Counter(stage.split("@")[0] for stage in stages) == expected
    assert len(set(stages)) == len(stages)
    assert (stages[0], stages[-1]) == ("check", "report")
    for method in methods:
        chain = [stage for stage in stages if stage.startswith(f"finetune@{method}-step")]
        assert [int(stage.rpartition("step")[2]) for stage in chain] == list(range(steps)), method


@pytest.fixture(scope="module")
def order_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """{stage: {deps, outs}} of mtil_order_1."""
    folder = tmp_path_factory.mktemp("order_1")
    return json.loads(in_project("mtil_order_1", folder, ["-c", GRAPH]))  # type: ignore[no-any-return]


TASKS = [step["task"] for step in read("mtil_order_1")["sequence"]]


@pytest.mark.parametrize("method", ["gift", "finetune"])
def test_each_task_is_learned_by_the_model_of_the_task_before(method: str, order_1: dict[str, Any]) -> None:
    before = "data/5_models/pretrained"
    for position, task in enumerate(TASKS):
        stage = order_1[f"finetune@{method}-step{position}"]
        models = [dep for dep in stage["deps"] if dep.startswith("data/5_models")]
        assert [os.path.normpath(dep) for dep in models] == [before]
        assert f"data/1_tasks/{task}" in stage["deps"]
        before = f"data/5_models/{method}/{task}"
        assert stage["outs"] == [before]


def test_finetune_depends_on_the_shards_through_its_teacher(order_1: dict[str, Any]) -> None:
    for position, task in enumerate(TASKS):
        deps = order_1[f"finetune@gift-step{position}"]["deps"]
        assert f"data/4_teachers/gift/{task}" in deps and f"data/3_shards/{task}" not in deps
        assert f"data/3_shards/{task}" in order_1[f"teach@gift-step{position}"]["deps"]
        assert order_1[f"teach@gift-step{position}"]["outs"] == [f"data/4_teachers/gift/{task}"]
        assert order_1[f"synthesize@{position}"]["outs"] == [f"data/3_shards/{task}"]


def test_prompts_and_accuracies_grow_from_task_to_task(order_1: dict[str, Any]) -> None:
    for position, (before, task) in enumerate(pairwise(TASKS), start=1):
        assert f"data/2_prompts/vocabularies/{before}.json" in order_1[f"write_prompts@{position}"]["deps"]
        for method in ("finetune", "gift"):
            stage = order_1[f"evaluate@{method}-step{position}"]
            assert f"data/6_accuracy/{method}/{before}.parquet" in stage["deps"]
            assert stage["outs"] == [f"data/6_{kind}/{method}/{task}.parquet" for kind in ("accuracy", "predictions")]


def test_the_comparison_is_one_pipeline_of_all_methods() -> None:
    params = read("mini_compare")
    assert params["run"]["methods"] == list(params["methods"])
