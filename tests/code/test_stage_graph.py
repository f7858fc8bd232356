"""The stages of dvc.yaml as stage_graph reads them, and as real DVC does. No data and no models are needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.code.stage_graph import list_stages, stages_of_step
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
