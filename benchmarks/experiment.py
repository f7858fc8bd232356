"""Runs a whole experiment in one process: the stages' own commands in dvc.yaml's order, without DVC around them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from gift_core.config import load_config
from gift_core.layout import Layout
from gift_core.metrics import metrics_by_method
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
    return copy.deepcopy(yaml.safe_load(path.read_text(encoding="utf-8")))


def choose_methods(experiment: Experiment, rows: dict[str, dict[str, Any]]) -> None:
    """Makes `rows` (method name -> row of `methods:`) the methods that the experiment runs."""
    experiment["methods"] = rows
    with_teacher = [name for name, row in rows.items() if row["replay"]["images"] != "none"]
    experiment["run"] |= {
        "methods": list(rows),
        "with_teacher": with_teacher,
        "without_teacher": [name for name in rows if name not in with_teacher],
    }


class Run:
    """An experiment under its own root folder; cells whose output exists are not run again."""

    def __init__(self, experiment: Experiment, root: Path) -> None:
        self.root, self.layout = root, Layout(root)
        root.mkdir(parents=True, exist_ok=True)
        self.params = root / "params.yaml"
        self.params.write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
        self.config = load_config(self.params)

    def prepare(self) -> None:
        """Everything that the methods share: the model, the tasks, the prompts, the pictures."""
        place = {"params": self.params, "root": self.root}
        if not self.layout.pretrained().exists():
            import_model(**place)
        if not self.layout.base_pool().exists():
            write_vocabulary(**place)
        for step in self.config.sequence:
            if not self.layout.task(step.task).exists():
                ingest(step.task, **place)
            if not self.layout.prompts(step.task).exists():
                write_prompts(step.task, **place)
            if self.config.run.with_teacher and not self.layout.shards(step.task).exists():
                synthesize(step.task, **place)

    def learn(self) -> None:
        """Every method's cells, step by step."""
        place = {"params": self.params, "root": self.root}
        for method in self.config.run.methods:
            for step in self.config.sequence:
                if self.layout.accuracy(method, step.task).exists():
                    continue
                if method in self.config.run.with_teacher:
                    teach(method, step.task, **place)
                finetune(method, step.task, learning_rate_factor=step.learning_rate_factor, **place)
                evaluate(method, step.task, **place)

    def accuracies(self) -> pd.DataFrame:
        """Returns the accuracy rows of all methods."""
        from gift_core.artifacts.accuracy import read_accuracy

        files = [
            self.layout.accuracy(method, step.task)
            for method in self.config.run.methods
            for step in self.config.sequence
        ]
        return pd.concat([read_accuracy(file)[0] for file in files], ignore_index=True)

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Returns Transfer, Avg, Last and Forgetting of every method and of the zero-shot model, in percent."""
        return metrics_by_method(self.accuracies())
