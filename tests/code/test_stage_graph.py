"""The stages of dvc.yaml as stage_graph reads them, and as real DVC does. No data and no models are needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.code.stage_graph import list_stages, stages_of_step
from gift_core.config.overlays import complete_text
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


TASKS = [step["task"] for step in yaml.safe_load(TEXT)["sequence"]]


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


@pytest.mark.parametrize("method", ["gift", "finetune"])
def test_a_step_reads_what_the_step_before_left_and_finetune_the_shards_through_its_teacher(
    method: str, order_1: dict[str, Any]
) -> None:
    """How many stages there are: end_to_end/test_pipeline.py."""
    models, last = "data/5_models/pretrained", None
    for position, task in enumerate(TASKS):
        step = {stage: order_1[f"{stage}@{method}-step{position}"] for stage in ("teach", "finetune", "evaluate")}
        shared = {stage: order_1[f"{stage}@{position}"] for stage in ("write_prompts", "synthesize")}
        learned = step["finetune"]["deps"]
        for stage in ("teach", "finetune"):
            found = {os.path.normpath(dep) for dep in step[stage]["deps"] if dep.startswith("data/5_models")}
            assert found == {models}
        assert {f"data/1_tasks/{task}", f"data/4_teachers/{method}/{task}"} < set(learned)
        assert shared["synthesize"]["outs"] == [f"data/3_shards/{task}"]
        assert f"data/3_shards/{task}" in step["teach"]["deps"] and f"data/3_shards/{task}" not in learned
        models, tables = f"data/5_models/{method}/{task}", ("accuracy", "predictions")
        assert step["teach"]["outs"] == [f"data/4_teachers/{method}/{task}"] and step["finetune"]["outs"] == [models]
        written = [f"data/6_released/{method}/{task}", *(f"data/6_{kind}/{method}/{task}.parquet" for kind in tables)]
        assert step["evaluate"]["outs"] == written
        if last:
            assert f"data/2_prompts/vocabularies/{last}.json" in shared["write_prompts"]["deps"]
            assert f"data/6_accuracy/{method}/{last}.parquet" in step["evaluate"]["deps"]
        last = task
