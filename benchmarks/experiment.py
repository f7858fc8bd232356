"""Runs an experiment without DVC: calls the functions of the stages in the order of dvc.yaml, methods in parallel.

Existing results are reused if they were made with the same settings. The code is not compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.config.checks import START
from gift_core.config.loading import load_config, parse_config
from gift_core.config.params_edit import catalogue_rows
from gift_core.config.presets import complete_text
from gift_core.errors import UserError, lookup
from gift_core.layout import Layout
from gift_core.method.metrics import summarize
from gift_core.progress import progress
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.import_model import import_model
from stages.ingest import ingest
from stages.probe import probe
from stages.synthesize import synthesize
from stages.teach import teach
from stages.write_prompts import write_prompts
from stages.write_vocabulary import write_vocabulary

Experiment = dict[str, Any]


def read_experiment(path: Path) -> Experiment:
    """Returns the experiment of a params file as plain data, which can be changed and written.

    Its methods are those of the file and all others of the catalogue.
    """
    experiment: Experiment = yaml.safe_load(complete_text(path))
    return experiment | {"methods": catalogue_rows(experiment, path.parent) | experiment["methods"]}


def choose_methods(experiment: Experiment, rows: dict[str, dict[str, Any]]) -> None:
    """Sets the methods that the experiment runs. `rows`: method name -> row of `methods:`."""
    experiment["methods"] = rows
    experiment["run"] |= {"methods": list(rows)}


def set_order(experiment: Experiment, tasks: Sequence[str]) -> None:
    """Makes `tasks` the sequence. UserError for a task that the sequence lacks, or one that is listed twice."""
    rows = {row["task"]: row for row in experiment["sequence"]}
    chosen = [lookup(rows, task, "--order") for task in tasks]
    repeated = [task for task, count in Counter(tasks).items() if count > 1]
    if repeated:
        raise UserError(f"--order: {', '.join(repeated)} is listed more than once. List each task once.")
    experiment["sequence"] = [row | {"after": before} for row, before in zip(chosen, (START, *tasks), strict=False)]


class Run:
    """An experiment in a root folder of its own. Stages whose output exists are skipped."""

    def __init__(self, root: Path) -> None:
        self.root, self.layout, self.params = root, Layout(root), root / "params.yaml"
        self.config = load_config(self.params)
        self._paths = {"params": self.params, "root": root}

    @classmethod
    def of(cls, experiment: Experiment, work: Path, *, seed: int) -> Run:
        """Returns the run of the experiment with this seed for everything, including the images.

        Its root is a folder of `work` for the seed and the other settings that all methods share. Results there of a
        method whose row has changed are removed. UserError for settings that are not valid.
        """
        seeded = experiment | {"seed": seed, "generator": experiment["generator"] | {"seed": seed}}
        text = yaml.safe_dump(seeded, sort_keys=False)
        parse_config(text, "params.yaml")  # before anything is removed
        root = work / experiment["experiment"] / f"seed-{seed}-{_digest(seeded)}"
        root.mkdir(parents=True, exist_ok=True)
        _remove_what_changed(experiment["methods"], root)
        (root / "params.yaml").write_text(text, encoding="utf-8")
        return cls(root)

    def prepare(self) -> None:
        """Runs the stages that all methods share: the model, the tasks, the prompts and the images."""
        if not self.layout.pretrained_accuracy().exists():
            import_model(**self._paths)
        if not self.layout.base_vocabulary().exists():
            write_vocabulary(**self._paths)
        reads = {self.config.methods[name].replay.reads for name in self.config.run.methods}
        for task in (*(step.task for step in self.config.sequence), *self.config.evaluation.probes):
            if not self.layout.task(task).exists():
                ingest(task, **self._paths)
        for task in self.config.evaluation.probes:
            if not self.layout.probe(task).exists():
                probe(task, **self._paths)
        for step in self.config.sequence:
            if not self.layout.prompts(step.task).exists():
                write_prompts(step.task, **self._paths)
            if "synthetic" in reads and not self.layout.shards(step.task).exists():
                synthesize(step.task, **self._paths)

    def learn(self, method: str) -> None:
        """Runs the stages of the method, one step of the sequence after the other."""
        for step in self.config.sequence:
            if self.layout.accuracy(method, step.task).exists():
                continue
            if self.config.methods[method].replay.reads != "none":
                teach(method, step.task, **self._paths)
            finetune(method, step.task, learning_rate_factor=step.learning_rate_factor, **self._paths)
            evaluate(method, step.task, **self._paths)

    def accuracies(self) -> pd.DataFrame:
        """Returns the accuracy rows of all methods."""
        steps, methods = self.config.sequence, self.config.run.methods
        files = [self.layout.accuracy(method, step.task) for method in methods for step in steps]
        return pd.concat([read_accuracy(file)[0] for file in files], ignore_index=True)

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Returns Transfer, Avg, Last and Forgetting of every method and of the zero-shot model, in percent."""
        return {method: summary.metrics for method, summary in summarize(self.accuracies()).items()}


def run_all(runs: Iterable[Run], *, workers: int) -> None:
    """Runs the stages that methods share, then every method of every run, `workers` at a time.

    All runs of a method come before the next method.
    """
    listed = list({run.root: run for run in runs}.values())
    methods = dict.fromkeys(method for run in listed for method in run.config.run.methods)
    jobs = [(_learn, run.root, method) for method in methods for run in listed if method in run.config.run.methods]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        _in_processes(executor, [(_prepare, run.root) for run in listed], "runs prepared")
        _in_processes(executor, jobs, "methods")


def _in_processes(executor: ProcessPoolExecutor, jobs: Sequence[tuple[Any, ...]], what: str) -> None:
    """Calls each (function, *arguments) in a process with one thread, so that processes do not compete for cores."""
    before = dict(os.environ)
    os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}  # processes inherit them; they start when jobs come
    waiting = [executor.submit(*job) for job in jobs]
    os.environ.clear()
    os.environ.update(before)
    for done in progress(as_completed(waiting), len(waiting), what):
        done.result()


def default_workers() -> int:
    """Returns the number of cores that this process may use."""
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


def _remove_what_changed(rows: dict[str, Any], root: Path) -> None:
    """Removes the results of methods that were run with other rows. A file of the root keeps the rows that were run."""
    record, layout = root / "rows.json", Layout(root)
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    for method in [name for name, row in rows.items() if before.get(name, row) != row]:
        for folder in (layout.teacher(method, ""), layout.model(method, ""), layout.accuracy(method, "any").parent):
            shutil.rmtree(folder, ignore_errors=True)
    record.write_text(json.dumps(before | rows, indent=1), encoding="utf-8")


def _digest(experiment: Experiment) -> str:
    """Returns a short hash of all settings but the methods."""
    shared = {key: value for key, value in experiment.items() if key not in ("run", "methods")}
    return hashlib.sha256(json.dumps(shared).encode()).hexdigest()[:8]
