"""Accuracy files of whole methods: read, checked against each other, and scored by the protocol of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from gift_core.artifacts.accuracy import PROBE, read_accuracy, without_probes
from gift_core.config.experiment import Config
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.method.metrics import (
    ZERO_SHOT,
    Summary,
    accuracies_of,
    matrix_scores_by_task,
    probe_tables,
    with_zero_shot,
)

Metadata = Mapping[str, Mapping[str, Mapping[str, str]]]  # of the accuracy files, by method and task
Scores = Mapping[str, Mapping[str, float | None]]
MEAN = "mean"  # in place of a task: the mean over all
SEPARATE_MODEL_COLUMNS = ("own",)  # with a separate model for each task, no single model has the other scores


@dataclass(frozen=True, eq=False)
class RunScores:
    """The scores of the zero-shot model and of each method, in percent by column: those of metrics.json, and
    "probes": with tasks that no step learns, the mean accuracy on them after the last step,
    "own": the mean accuracy on each task right after its own training, for accuracies by task.

    `matrices`: the accuracy matrix in percent with the row of the pre-trained model on top. A class-incremental run has
    `seen` instead: percent on all classes so far, a row for each step, a column for each method. `probes`: percent on
    the tasks that no step learns, a row for the pre-trained model and each step, a column each; {} without any.
    """

    scores: Scores
    matrices: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    seen: pd.DataFrame | None = None
    probes: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Columns method, task, and those of the result table. A method's row of the task MEAN is its scores in all."""
        rows = {(method, MEAN): scores for method, scores in self.scores.items()}
        for method, matrix in self.matrices.items():
            rows |= {(method, task): scores for task, scores in matrix_scores_by_task(matrix.iloc[1:]).items()}
        table = pd.DataFrame.from_dict(rows, "index", float)
        return table[[*self.columns]].rename_axis(["method", "task"]).reset_index()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the result table."""
        absent = () if self.seen is None else ("transfer", "forgetting")
        return tuple(column for column in self.scores[ZERO_SHOT] if column not in absent)


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
    protocol = config.evaluation.protocol
    names = [ZERO_SHOT, *(name for name in methods if config.methods[name].learns != "nothing")]
    try:
        rows, tables = with_zero_shot(without_probes(accuracy)), probe_tables(accuracy)
        fractions = {name: accuracies_of(rows, name, protocol) for name in names}
    except UserError as error:
        raise _broken(layout, str(error)) from error
    tasks = tuple(step.task for step in config.sequence)
    for name, of_method in fractions.items():
        if tuple(of_method.index) != tasks:
            trained = ", ".join(of_method.index)
            raise _broken(layout, f"{name} was trained on {trained}, but the sequence is {', '.join(tasks)}.")
    scores = {name: Summary(accuracies).metrics for name, accuracies in fractions.items()}
    probes = {name: 100.0 * tables[name] for name in names if name in tables}
    for name, table in probes.items():
        scores[name]["probes"] = float(table.iloc[-1].mean())
    percent: dict[str, Any] = {name: accuracies * 100.0 for name, accuracies in fractions.items()}
    if not protocol.has_matrix:
        return RunScores(scores, seen=pd.DataFrame(percent), probes=probes)
    matrices = {name: pd.concat([percent[ZERO_SHOT].iloc[:1], matrix]) for name, matrix in percent.items()}
    with_own = {name: {**scores[name], "own": own_task_accuracy(matrix)} for name, matrix in matrices.items()}
    return RunScores(with_own, matrices=matrices, probes=probes)


def own_task_accuracy(matrix: pd.DataFrame) -> float:
    """Mean over the tasks of the accuracy right after their own step; `matrix` has the pre-trained row on top."""
    return float(np.diagonal(matrix.to_numpy(dtype=float)[1:]).mean())


def _broken(layout: Layout, problem: str) -> ContractError:
    folder = layout.accuracy("method", "task").parent.parent
    return ContractError(f"{folder}: {problem} Re-make it with: dvc repro evaluate")
