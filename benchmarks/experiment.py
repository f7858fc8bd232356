"""Runs a whole experiment without DVC around it: the stages' own commands in dvc.yaml's order, methods in parallel.

What a folder holds is used again as long as it was made from the same settings; the code is not compared.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.config.loading import load_config
from gift_core.config.overlays import complete_text
from gift_core.layout import Layout
from gift_core.metrics import metrics_by_method
from gift_core.progress import progress
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.import_model import import_model
from stages.ingest import ingest
from stages.synthesize import synthesize
from stages.teach import teach
from stages.write_prompts import write_prompts
from stages.write_vocabulary import write_vocabulary

Experiment = dict[str, Any]


def read_experiment(path: Path) -> Experiment:
    """Returns the experiment of a params file as plain data, to be changed and written again."""
    return copy.deepcopy(yaml.safe_load(complete_text(path)))


def choose_methods(experiment: Experiment, rows: dict[str, dict[str, Any]]) -> None:
    """Makes `rows` (method name -> row of `methods:`) the methods that the experiment runs."""
    experiment["methods"] = rows
    experiment["run"] |= {"methods": list(rows)}


class Run:
    """An experiment under its own root folder; stages whose output exists are not run again."""

    def __init__(self, root: Path) -> None:
        self.root, self.layout, self.params = root, Layout(root), root / "params.yaml"
        self.config = load_config(self.params)
        self._place = {"params": self.params, "root": root}

    @classmethod
    def of(cls, experiment: Experiment, root: Path) -> Run:
        """The experiment under `root`: what was made there from other settings is removed first."""
        _remove_what_changed(experiment, root)
        root.mkdir(parents=True, exist_ok=True)
        (root / "params.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
        return cls(root)

    def prepare(self) -> None:
        """Everything that the methods share: the model, the tasks, the prompts, the pictures."""
        if not self.layout.pretrained_accuracy().exists():
            import_model(**self._place)
        if not self.layout.base_vocabulary().exists():
            write_vocabulary(**self._place)
        reads = {self.config.methods[name].replay.reads for name in self.config.run.methods}
        for step in self.config.sequence:
            if not self.layout.task(step.task).exists():
                ingest(step.task, **self._place)
            if not self.layout.prompts(step.task).exists():
                write_prompts(step.task, **self._place)
            if "synthetic" in reads and not self.layout.shards(step.task).exists():
                synthesize(step.task, **self._place)

    def learn(self, method: str) -> None:
        """The method's stages, step by step."""
        for step in self.config.sequence:
            if self.layout.accuracy(method, step.task).exists():
                continue
            if self.config.methods[method].replay.reads != "none":
                teach(method, step.task, **self._place)
            finetune(method, step.task, learning_rate_factor=step.learning_rate_factor, **self._place)
            evaluate(method, step.task, **self._place)

    def accuracies(self) -> pd.DataFrame:
        """Returns the accuracy rows of all methods."""
        steps, methods = self.config.sequence, self.config.run.methods
        files = [self.layout.accuracy(method, step.task) for method in methods for step in steps]
        return pd.concat([read_accuracy(file)[0] for file in files], ignore_index=True)

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Returns Transfer, Avg, Last and Forgetting of every method and of the zero-shot model, in percent."""
        return metrics_by_method(self.accuracies())


def prepare_all(runs: Iterable[Run], *, workers: int) -> None:
    """What the methods of each run share, `workers` runs at a time."""
    _in_processes([(_prepare, run.root) for run in runs], "runs prepared", workers)


def learn_all(runs: Iterable[Run], *, workers: int) -> None:
    """Every method of every run, `workers` at a time; a method's runs one after another, so that they end together."""
    listed = list(runs)
    methods = dict.fromkeys(method for run in listed for method in run.config.run.methods)
    jobs = [(_learn, run.root, method) for method in methods for run in listed if method in run.config.run.methods]
    _in_processes(jobs, "methods", workers)


def _in_processes(jobs: Sequence[tuple[Any, ...]], what: str, workers: int) -> None:
    """Calls (function, *arguments), each in a process with one thread: two of two threads would fight for two cores."""
    before = dict(os.environ)
    os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}  # the processes inherit them
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(*job) for job in jobs]
        os.environ.clear()
        os.environ.update(before)
        for done in progress(as_completed(waiting), len(waiting), what):
            done.result()


def default_workers() -> int:
    """As many as there are cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare(root: Path) -> None:
    with _silence():
        Run(root).prepare()


def _learn(root: Path, method: str) -> None:
    with _silence():
        Run(root).learn(method)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _remove_what_changed(experiment: Experiment, root: Path) -> None:
    if not (root / "params.yaml").is_file():
        return
    before = read_experiment(root / "params.yaml")
    if _shared(before) != _shared(experiment):
        shutil.rmtree(root)
        return
    for method, row in before["methods"].items():
        if experiment["methods"].get(method, row) != row:
            layout = Layout(root)
            for folder in (layout.teacher(method, ""), layout.model(method, ""), layout.accuracy(method, "any").parent):
                shutil.rmtree(folder, ignore_errors=True)


def _shared(experiment: Experiment) -> str:
    return json.dumps({key: value for key, value in experiment.items() if key not in ("run", "methods")})
