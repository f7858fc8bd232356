"""A pipeline with the loops of dvc.yaml and stages that only count, so that a test of merging takes seconds."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.clone import Clone, commit, write_program
from tests.imports import ROOT

PIPELINE = """\
stages:
  check:
    cmd: python toy.py code data/code/check.json
    deps: [params.yaml]
    outs: [data/code/check.json: {persist: true}]
  start:
    cmd: python toy.py start data/5_models/pretrained
    outs: [data/5_models/pretrained]
  ingest:
    foreach: ${tasks}
    do:
      cmd: python toy.py ingest data/1_tasks/${key}
      deps:
      - data/code/check.json
      - ${item.path}
      params:
      - tasks.${key}
      outs:
      - data/1_tasks/${key}: {persist: true}
  finetune:
    matrix:
      method: ${run.methods}
      step: ${sequence}
    cmd: python toy.py finetune data/5_models/${item.method}/${item.step.task} ${item.step.after}
    deps:
    - data/code/check.json
    - data/1_tasks/${item.step.task}
    - data/5_models/${item.method}/${item.step.after}
    params:
    - methods.${item.method}
    - training.iterations
    outs:
    - data/5_models/${item.method}/${item.step.task}
  report:
    cmd: python toy.py report reports/metrics.json
    deps: [data/5_models]
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
models = {model.parent.name: numbers for model in sorted(pathlib.Path("data/5_models").glob("*/*"))}
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
    path: toy.py
sequence:
- task: birds
  after: ../pretrained
"""
DRIVERS = {"dvc-lock": f'"{sys.executable}" -m stages merge-lock %O %A %B', "ours": "true"}


def toy(folder: Path) -> Clone:
    """Returns a project whose pipeline has run once. The result is committed and pushed."""
    project = new_toy(folder)
    use_store(project, folder.parent / "store")
    run_and_push(project)
    return project


def run_and_push(project: Clone) -> None:
    """Runs the pipeline, commits and pushes."""
    project.repro()
    commit(project, "a result")
    project.run("dvc", "push", "--quiet", "--run-cache")


def new_toy(folder: Path) -> Clone:
    """Returns a project that has not run yet, without a remote. Nothing is committed."""
    files = {"dvc.yaml": PIPELINE, "toy.py": SCRIPT, "params.yaml": PARAMS, "pyproject.toml": "", "constraints.txt": ""}
    files |= {name: (ROOT / name).read_text(encoding="utf-8") for name in (".gitattributes", ".gitignore", "Makefile")}
    files |= {".dvc/config": "", ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n"}
    (folder / ".dvc").mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    project = toy_clone(folder)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
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


def write_gift(folder: Path, python: str = "python") -> None:
    """Writes a program `gift` into the folder, as `make setup` installs it."""
    write_program(folder / "gift", f'exec "{python}" -m stages "$@"')
