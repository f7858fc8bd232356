"""Accuracy files of whole methods: read, checked against each other, and scored by the protocol of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from gift_core.artifacts.accuracy import PROBE, read_accuracy
from gift_core.config.experiment import Config
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.method.metrics import ZERO_SHOT, Summary, probe_scores, summarize

Metadata = Mapping[str, Mapping[str, Mapping[str, str]]]  # of the accuracy files, by method and task
Accuracies = TypeVar("Accuracies", pd.DataFrame, pd.Series)
Scores = Mapping[str, Mapping[str, float | None]]
MEAN = "mean"  # in place of a task: the mean over all
SEPARATE_MODEL_COLUMNS = ("own",)  # with a separate model for each task, no single model has the other scores


@dataclass(frozen=True, kw_only=True, eq=False)
class RunScores:
    """The accuracies of the zero-shot model and of each method (method.metrics.summarize), and their scores."""

    summaries: Mapping[str, Summary]

    @cached_property
    def scores(self) -> Scores:
        """Percent by method and column: those of metrics.json, "probes" (the mean after the last step, where there are
        any), and "own" (the mean on each task right after its own training, for accuracies by task)."""
        scores = {method: {**summary.metrics} for method, summary in self.summaries.items()}
        for method, table in self.probes.items():
            scores[method]["probes"] = float(table.iloc[-1].mean())
        for method, matrix in self._percent(pd.DataFrame).items():
            scores[method]["own"] = float(np.diagonal(matrix).mean())
        return scores

    @cached_property
    def matrices(self) -> Mapping[str, pd.DataFrame]:
        """The accuracy matrices in percent with the row of the pre-trained model on top. {}: class-incremental."""
        matrices = self._percent(pd.DataFrame)
        return {method: pd.concat([matrices[ZERO_SHOT].iloc[:1], matrix]) for method, matrix in matrices.items()}

    @cached_property
    def seen(self) -> pd.DataFrame | None:
        """Of a class-incremental run, percent on all classes so far: a row for each step, a column for each method."""
        curves = self._percent(pd.Series)
        return pd.DataFrame(curves) if curves else None

    @cached_property
    def probes(self) -> Mapping[str, pd.DataFrame]:
        """Percent on the tasks that no step learns, a row for the pre-trained model and each step. {} without any."""
        tables = {method: summary.probes for method, summary in self.summaries.items()}
        return {method: 100.0 * table for method, table in tables.items() if table is not None}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the result table."""
        absent = () if self._percent(pd.DataFrame) else ("transfer", "forgetting")
        return tuple(dict.fromkeys(column for row in self.scores.values() for column in row if column not in absent))

    @property
    def unrounded_metrics(self) -> dict[str, dict[str, Any]]:
        """The content of metrics.json in percent, before its numbers are rounded."""
        metrics: dict[str, dict[str, Any]] = {method: {**row.metrics} for method, row in self.summaries.items()}
        for method, table in self.probes.items():
            metrics[method]["probes"] = probe_scores(table)
        return metrics

    def _percent(self, kind: type[Accuracies]) -> dict[str, Accuracies]:
        """Those that are matrices, or those that are curves."""
        of_all = {method: summary.accuracies for method, summary in self.summaries.items()}
        return {method: 100.0 * percent for method, percent in of_all.items() if isinstance(percent, kind)}


def score_table(runs: Mapping[int, RunScores]) -> pd.DataFrame:
    """Columns seed, method, task, and those of the result table. A row of the task MEAN has the scores in all."""
    tables = []
    for seed, run in runs.items():
        rows = {(seed, method, MEAN): scores for method, scores in run.scores.items()}
        for method, summary in run.summaries.items():
            rows |= {(seed, method, task): scores for task, scores in summary.by_task.items()}
        tables.append(pd.DataFrame.from_dict(rows, "index", float)[[*run.columns]])
    return pd.concat(tables).rename_axis(["seed", "method", "task"]).reset_index()


def read_accuracies(layout: Layout, config: Config, methods: tuple[str, ...]) -> tuple[pd.DataFrame, Metadata]:
    """All rows, and the metadata of each file. The metadata of a method's last file have the hashes of all its steps.

    ContractError if a file is missing, or if two methods were evaluated with different models or images.
    """
    tasks = tuple(step.task for step in config.sequence)
    parts = []
    metadata: dict[str, dict[str, Mapping[str, str]]] = {}
    for method, task in product(methods, tasks):
        rows, of_file = read_accuracy(layout.accuracy(method, task))
        if config.evaluation.protocol.renews_matrix and task != tasks[-1]:  # the last file has the whole matrix
            rows = rows[rows["phase"] == PROBE]
        parts.append(rows)
        metadata.setdefault(method, {})[task] = of_file
    first_seen: dict[str, tuple[str, str]] = {}
    for method, of_method in metadata.items():
        for name, digest in of_method[tasks[-1]].items():
            if name.startswith(("task:", "probe:")) or name == "model:pretrained":
                first, expected = first_seen.setdefault(name, (method, digest))
                if digest != expected:
                    raise _broken(layout, f"{first} and {method} were evaluated with different versions of {name}.")
    return pd.concat(parts, ignore_index=True), metadata


def score_run(layout: Layout, config: Config, accuracy: pd.DataFrame, methods: Sequence[str]) -> RunScores:
    """The scores under evaluation.protocol of those of `methods` that learn something, and of the zero-shot model.

    ContractError if rows are missing or belong to another sequence.
    """
    try:
        summaries = summarize(accuracy)
    except UserError as error:
        raise _broken(layout, str(error)) from error
    names = [ZERO_SHOT, *(name for name in methods if config.methods[name].learns != "nothing")]
    tasks = [step.task for step in config.sequence]
    for name in names:
        trained = [*summaries[name].accuracies.index] if name in summaries else []
        if trained != tasks:
            learned = ", ".join(trained) or "nothing"
            raise _broken(layout, f"{name} was trained on {learned}, but the sequence is {', '.join(tasks)}.")
    return RunScores(summaries={name: summaries[name] for name in names})


def _broken(layout: Layout, problem: str) -> ContractError:
    folder = layout.accuracy("method", "task").parent.parent
    return ContractError(f"{folder}: {problem} Re-make it with: dvc repro evaluate")
