"""A pipeline with the loops of dvc.yaml and stages that only count, so that a test of merging takes seconds."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.end_to_end.test_pipeline import Clone
from tests.imports import ROOT
from tests.team.clones import commit

PIPELINE = """\
stages:
  check:
    cmd: python toy.py code data/code.json
    deps: [params.yaml]
    outs: [data/code.json: {persist: true}]
  start:
    cmd: python toy.py start data/models/pretrained
    outs: [data/models/pretrained]
  ingest:
    foreach: ${tasks}
    do:
      cmd: python toy.py ingest data/tasks/${key}
      deps: [data/code.json]
      params:
      - tasks.${key}
      outs:
      - data/tasks/${key}
  finetune:
    matrix:
      method: ${run.methods}
      step: ${sequence}
    cmd: python toy.py finetune data/models/${item.method}/${item.step.task} ${item.step.after}
    deps:
    - data/code.json
    - data/tasks/${item.step.task}
    - data/models/${item.method}/${item.step.after}
    params:
    - methods.${item.method}
    - training.iterations
    outs:
    - data/models/${item.method}/${item.step.task}
  report:
    cmd: python toy.py report reports/metrics.json
    deps: [data/models]
    params: [run.methods, tasks, methods, training]
    metrics: [reports/metrics.json: {cache: false}]
"""
SCRIPT = """\
import json, pathlib, sys
stage, path, *words = sys.argv[1:]
out = pathlib.Path(path)
out.parent.mkdir(parents=True, exist_ok=True)
iterations = pathlib.Path("params.yaml").read_text().split("iterations: ")[1].split()[0]
texts = {"code": "constant", "ingest": path, "start": "", "finetune": f"{path} {words} {iterations}"}
numbers = {"transfer": 1.0, "avg": 2.0, "last": float(iterations), "forgetting": None}
models = {str(model): numbers for model in sorted(pathlib.Path("data/models").glob("*/*"))}
out.write_text(json.dumps(models, indent=2) if stage == "report" else texts[stage])
"""
PARAMS = """\
seed: 1
run:
  methods:
  - finetune
training:
  iterations: 10
methods:
  finetune:
    rate: 1.0e-4
  gift:
    rate: 1.0e-5
  joint:
    rate: 0.1
tasks:
  birds:
    path: x
sequence:
- task: birds
  after: ../pretrained
"""
DRIVERS = {"dvc-lock": f'"{sys.executable}" -m stages merge-lock %O %A %B', "ours": "true"}


def toy(folder: Path) -> Clone:
    """Returns a project whose pipeline has run once. The result is committed and pushed."""
    folder.mkdir(parents=True)
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    files = {"dvc.yaml": PIPELINE, "toy.py": SCRIPT, "params.yaml": PARAMS, ".gitattributes": attributes}
    for name, text in {**files, ".gitignore": "/data/\n"}.items():
        (folder / name).write_text(text, encoding="utf-8")
    project = toy_clone(folder)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "init", "--quiet")
    use_store(project, folder.parent / "store")
    project.repro()
    commit(project, "base")
    project.run("dvc", "push", "--quiet", "--run-cache")
    return project


def use_store(project: Clone, store: Path | str) -> None:
    """Writes what `gift remote` sets, which takes DVC four runs."""
    remote = f"['remote \"store\"']\n    url = {store}\n    verify = true\n"
    (project.folder / ".dvc" / "config").write_text(f"[core]\n    remote = store\n{remote}", encoding="utf-8")


def toy_clone(folder: Path) -> Clone:
    """Returns a clone that runs this project's code for `python -m stages`."""
    clone = Clone(folder)
    clone.environment["PYTHONPATH"] = str(ROOT)
    return clone


def use_drivers(clone: Clone) -> None:
    """Sets git's merge drivers, as `make setup` does."""
    for name, command in DRIVERS.items():
        clone.run("git", "config", f"merge.{name}.driver", command)


def change(project: Clone, *edits: tuple[str, str]) -> list[str]:
    """Replaces texts of params.yaml, runs the pipeline, commits and pushes. Returns the stages that ran."""
    for old, new in edits:
        project.edit("params.yaml", old, new)
    ran = project.repro()
    commit(project, "a change")
    project.run("dvc", "push", "--quiet", "--run-cache")
    return ran
