"""Transfer, Avg, Last and Forgetting of a continual learner, from rows of accuracies (ZSCL, section 5.1).

Task-incremental (MTIL) and cross-domain (X-TAIL): A[i][j] is the accuracy on the task of step j after step i.
Class-incremental (CIL): one accuracy for each step, on the classes of all tasks learned so far. Steps count from 0 in
the order of training; the pre-trained model has step -1. Rows have the columns method, protocol, step, trained_task,
eval_task and top1 (0-1), as described in artifacts.accuracy. Tests on tasks that no step learns (probes) are summarized
apart from them: probe_scores.

Also the 95% intervals of accuracies for their numbers of test images, by Wilson's score method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gift_core.artifacts.accuracy import (
    PRETRAINED_STEP,
    own_rows,
    probe_table,
    protocol_of,
    require_complete,
    require_pretrained,
    task_order,
    without_probes,
)
from gift_core.artifacts.report_json import METRICS
from gift_core.errors import UserError

ZERO_SHOT = "zero_shot"
Z = 1.96  # a normal variable is within this many standard deviations with a probability of 95%

Metrics = dict[str, float | None]
ProbeScores = dict[str, float | dict[str, float]]


@dataclass(frozen=True)
class Summary:
    """A method's accuracies (0-1), as its protocol arranges them: accuracy_matrix or accuracy_curve.

    `probes`: those on tasks that no step learns (probe_tables); None without any.
    """

    accuracies: pd.DataFrame | pd.Series
    probes: pd.DataFrame | None = None

    @property
    def metrics(self) -> Metrics:
        """{"transfer", "avg", "last", "forgetting"} in percent, unrounded.

        Class-incremental methods have neither transfer nor forgetting: None.
        """
        if isinstance(self.accuracies, pd.Series):
            return _in_percent(curve_scores(self.accuracies))
        return _in_percent(matrix_scores(self.accuracies))

    @property
    def by_task(self) -> dict[str, Metrics]:
        """{"<task>": {"transfer", "avg", "last", "forgetting"}} in percent, unrounded, tasks in the order of training.

        Their means over the tasks are `metrics`. The first task has no transfer and the last one no forgetting: None.
        A class-incremental method has no metrics by task: {}.
        """
        if isinstance(self.accuracies, pd.Series):
            return {}
        return {task: _in_percent(row) for task, row in matrix_scores_by_task(self.accuracies).items()}


def summarize(rows: pd.DataFrame) -> dict[str, Summary]:
    """Returns {"<method>": Summary}, the zero-shot model first (with_zero_shot), then the methods as their rows come.

    The methods may differ in their protocols. UserError names the rows that are missing.
    """
    complete = with_zero_shot(without_probes(rows))
    probes = probe_tables(rows)
    summaries = {}
    for method in map(str, dict.fromkeys(complete["method"])):
        arrange = accuracy_matrix if protocol_of(complete, method).has_matrix else accuracy_curve
        summaries[method] = Summary(arrange(complete, method), probes.get(method))
    return summaries


def with_zero_shot(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns `rows` with the pre-trained model (step -1) as the method zero_shot, which has every step.

    Each method's evaluation holds rows of the pre-trained model; those of the first method are taken, in the order of
    its tasks, or in the order of the next method where the first has no other rows. Rows that have a zero_shot method
    already, or no pre-trained model, come back without step -1. UserError if the pre-trained model has no row for a
    task.
    """
    before = rows[rows["step"] == PRETRAINED_STEP]
    after: pd.DataFrame = rows[rows["step"] != PRETRAINED_STEP]
    if before.empty or ZERO_SHOT in set(after["method"]):
        return after
    first = str(before["method"].iloc[0])
    pretrained: pd.DataFrame = before[before["method"] == first]
    methods = [str(method) for method in dict.fromkeys(after["method"])]
    learner = first if first in methods or not methods else methods[0]
    order = task_order(after[after["method"] == learner], learner)
    require_pretrained(pretrained, order, first)
    has_matrix = protocol_of(pretrained, first).has_matrix
    steps = []
    for step, task in enumerate(order):
        of_step = pretrained if has_matrix else pretrained[pretrained["eval_task"] == task]
        steps.append(of_step.assign(method=ZERO_SHOT, step=step, trained_task=task))
    return pd.concat([*steps, after], ignore_index=True)


def probe_tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns {method: its accuracies (0-1) on the probes}, those of the zero-shot model too; {} without probes.

    A table has a row for the pre-trained model (index -1) and for each step, and a column for each probe.
    """
    tables = {str(method): probe_table(rows, str(method)) for method in dict.fromkeys(rows["method"])}
    tables = {method: table for method, table in tables.items() if not table.empty}
    if tables and ZERO_SHOT not in tables:
        first = next(iter(tables.values()))
        constant = pd.DataFrame({name: first[name].iloc[0] for name in first}, index=first.index)
        tables = {ZERO_SHOT: constant, **tables}
    return tables


def probe_scores(percent: pd.DataFrame) -> ProbeScores:
    """Returns what is left of zero-shot: {"mean", "change", "by_task": {"<probe>": ...}}, from a table in percent.

    mean: over the probes, of the last model ("Zero-shot kept"). change: this minus that of the pre-trained model
    ("Zero-shot change", below 0 where something was lost). by_task: of the last model.
    """
    mean = percent.mean(axis=1)
    by_task = {str(name): float(value) for name, value in percent.iloc[-1].items()}
    return {"mean": float(mean.iloc[-1]), "change": float(mean.iloc[-1] - mean.iloc[0]), "by_task": by_task}


def accuracy_matrix(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """Returns A of a method that has one: a row for each step, named by its task, and a column for each task."""
    of_steps, order = own_rows(rows, method)
    unknown = sorted(set(of_steps["eval_task"]) - set(order))
    if unknown:
        raise UserError(
            f"accuracies of {method}: evaluated on {', '.join(unknown)}, which no step trained; "
            f"trained were {', '.join(order)}. Correct the names, or leave these rows out."
        )
    matrix: pd.DataFrame = of_steps.pivot(index="trained_task", columns="eval_task", values="top1")
    matrix = matrix.reindex(index=order, columns=order)
    require_complete(matrix, method)
    return matrix


def accuracy_curve(rows: pd.DataFrame, method: str) -> pd.Series:
    """Returns the accuracies (0-1) of a class-incremental method after each step, by the task that the step trained."""
    of_steps, order = own_rows(rows, method)
    wrong = of_steps[of_steps["eval_task"] != of_steps["trained_task"]]
    if not wrong.empty:
        row = wrong.iloc[0]
        raise UserError(
            f"accuracies of {method}: class_incremental, but step {row.step} trained {row.trained_task} and its "
            f"eval_task is {row.eval_task}. Write {row.trained_task}, which means all classes up to that task."
        )
    by_task: pd.Series = of_steps.set_index("trained_task")["top1"]
    return by_task.reindex(order)


def columns_by_task(matrix: pd.DataFrame) -> dict[str, pd.Series]:
    """Returns the four metrics of each task, in the unit of the accuracy matrix A.

    transfer: mean over the steps i < j of A[i][j], for tasks j >= 1; avg: mean over all steps; last: after the last
    step; forgetting: A[j][j] - A[T][j], what task j < T has lost since its own step (below 0: gained).
    """
    values, tasks = matrix.to_numpy(dtype=float), matrix.columns
    after_own_step = pd.Series(np.diag(values), index=tasks)
    last = matrix.iloc[-1].astype(float)
    before = {tasks[task]: float(values[:task, task].mean()) for task in range(1, len(values))}
    return {
        "transfer": pd.Series(before, dtype=float),
        "avg": matrix.mean(axis=0),
        "last": last,
        "forgetting": (after_own_step - last).iloc[:-1],
    }


def matrix_scores(matrix: pd.DataFrame) -> Metrics:
    """Returns the means of the four metrics over the tasks. With one task, transfer and forgetting are None."""
    return {name: _mean(column) for name, column in columns_by_task(matrix).items()}


def matrix_scores_by_task(matrix: pd.DataFrame) -> dict[str, Metrics]:
    """Returns each task's metrics in the matrix's unit; None: the first task's transfer, the last one's forgetting."""
    columns = columns_by_task(matrix)
    return {task: {name: columns[name].get(task) for name in METRICS} for task in matrix.columns}


def curve_scores(accuracies: pd.Series) -> Metrics:
    """Returns the metrics of a class-incremental method, in the unit of `accuracies`.

    avg: mean over the steps, each counting once; last: the last step. transfer and forgetting need accuracies on single
    tasks, so they do not exist: None.
    """
    return {"transfer": None, "avg": _mean(accuracies), "last": float(accuracies.iloc[-1]), "forgetting": None}


def accuracy_interval(percents: Sequence[float], images: Sequence[int]) -> tuple[float, float]:
    """The interval in percent of the mean of accuracies on independent test sets of these sizes.

    Limits of single accuracies are combined by the squares of their distances (Zou and Donner, 2008), so those of one
    test set are Wilson's. Near 0 and 100% and for few images they stay between 0 and 100%.
    """
    shares, weights = np.array(percents) / 100, Z**2 / np.array(images)
    spreads = np.sqrt(weights * (shares * (1 - shares) + weights / 4))
    low, high = ((shares + weights / 2 + way * spreads) / (1 + weights) for way in (-1, 1))
    below, above = (100 * float(np.linalg.norm(each - shares)) / len(percents) for each in (low, high))
    mean = sum(percents) / len(percents)
    return mean - below, mean + above


def is_within_intervals(percents: Sequence[float], others: Sequence[float], images: Sequence[int]) -> bool:
    """Whether the 95% interval of the difference of two such means contains 0, as if their images were not the same.

    The distances of their own limits are combined by their squares (Zou and Donner).
    """
    higher, lower = sorted((percents, others), key=sum, reverse=True)
    low, high = accuracy_interval(higher, images)[0], accuracy_interval(lower, images)[1]
    means = sum(higher) / len(images), sum(lower) / len(images)
    return means[0] - means[1] <= math.hypot(means[0] - low, high - means[1])


@dataclass(frozen=True)
class Score:
    """How many of `images` a model gets right."""

    correct: int
    images: int

    @property
    def percent(self) -> float:
        return 100 * self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy on all images of this kind, in percent."""
        low, high = accuracy_interval([self.percent], [self.images])
        return max(0.0, low), min(100.0, high)


def _mean(values: pd.Series) -> float | None:
    return float(np.mean(values.to_numpy(dtype=float))) if len(values) else None


def _in_percent(row: Mapping[str, float | None]) -> Metrics:
    return {name: None if value is None else 100 * float(value) for name, value in row.items()}
