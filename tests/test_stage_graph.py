"""The stages of dvc.yaml as stage_graph reads them, and as real DVC does. No data and no models are needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.overlays import complete_text
from gift_core.stage_graph import list_stages, stages_of_step
from tests.imports import ROOT

PIPELINE = """
stages:
  check: {cmd: "true", deps: [params.yaml], outs: [code]}
  import_model: {cmd: "true", params: [seed], outs: [model]}
  ingest:
    foreach: ${tasks}
    do: {cmd: "echo ${key}", params: ["tasks.${key}", seed], outs: ["${key}"]}
  synthesize:
    foreach: ${sequence}
    do: {cmd: "echo ${item.task}", outs: ["shards/${item.task}"]}
  repeat:
    foreach: ${run.methods}
    do: {cmd: "echo ${item}", outs: ["repeat/${item}"]}
  finetune:
    matrix: {method: "${run.methods}", step: "${sequence}"}
    cmd: echo ${item.method} ${item.step.task}
    outs: ["models/${item.method}/${item.step.task}"]
  report: {cmd: "true", params: [seed, tasks], outs: [reports]}
"""
PARAMS: dict[str, Any] = {
    "seed": 1,
    "run": {"methods": ["gift", "ewc"]},
    "tasks": {"owls": {"path": "b"}, "birds": {"path": "a"}},
    "sequence": [{"task": "birds", "after": "../pretrained"}, {"task": "owls", "after": "birds"}],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False), encoding="utf-8")
    return tmp_path


def listed_by_dvc(root: Path) -> list[str]:
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")
    command, variables = [sys.executable, "-m", "dvc", "stage", "list", "--name-only"], {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=root, env=os.environ | variables, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("which", ["these", "this project"])
def test_stages_have_the_names_and_the_order_that_dvc_gives_them(root: Path, which: str) -> None:
    for name in ("dvc.yaml", "params.yaml") if which == "this project" else ():
        (root / name).write_bytes((ROOT / name).read_bytes())
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    assert list_stages(root, params) == listed_by_dvc(root)


def test_a_new_task_runs_its_own_instances_and_what_reads_the_whole_sections(root: Path) -> None:
    own = ["ingest@owls", "synthesize@1", "finetune@gift-step1", "finetune@ewc-step1"]
    assert stages_of_step(root, PARAMS, "owls") == ["check", *own, "report"]
    shorter = PARAMS | {"tasks": {"birds": {"path": "a"}}, "sequence": PARAMS["sequence"][:1]}
    assert set(list_stages(root, PARAMS)) - set(list_stages(root, shorter)) == set(own)


TEXT = complete_text(ROOT / "presets" / "mtil_order_1.yaml")
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


ORDER_1 = yaml.safe_load(TEXT)
TASKS, METHODS = [step["task"] for step in ORDER_1["sequence"]], ORDER_1["run"]["methods"]


@pytest.fixture(scope="module")
def order_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """{stage: {deps, outs}} of mtil_order_1, in a DVC repository that holds dvc.yaml and the preset alone."""
    folder = tmp_path_factory.mktemp("order_1")
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(TEXT, encoding="utf-8")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")
    command, variables = [sys.executable, "-c", GRAPH], os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_methods_share_all_but_teach_finetune_and_evaluate(order_1: dict[str, Any]) -> None:
    expected = Counter(["check", "import_model", "write_vocabulary", "report"])
    expected += Counter({"ingest": len(ORDER_1["tasks"]), "write_prompts": len(TASKS), "synthesize": len(TASKS)})
    expected += Counter(dict.fromkeys(("teach", "finetune", "evaluate"), len(METHODS) * len(TASKS)))
    assert Counter(stage.split("@")[0] for stage in order_1) == expected


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
            tables = [f"data/6_{kind}/{method}/{task}.parquet" for kind in ("accuracy", "predictions")]
            assert stage["outs"] == [f"data/6_released/{method}/{task}", *tables]
