"""Transfer, Avg, Last and Forgetting of a continual learner, from rows of accuracies (ZSCL, section 5.1).

Task-incremental (MTIL): A[i][j] is the accuracy on the task of step j after step i; steps count from 0 in the order of
training. Class-incremental (CIL): after each step one test on all classes seen so far, so a method has one row a step,
whose eval_task is the word "seen"; Avg is the mean over the steps, Last the last step. The pre-trained model stands at
step -1: with a row a task, or, class-incremental, a row "seen:<task>" for the classes of all tasks up to that one.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from gift_core.metrics.matrix import accuracy_matrix, accuracy_on_seen, is_class_incremental, methods_of
from gift_core.metrics.scores import (
    NAMES,
    avg_by_task,
    columns_by_task,
    forgetting_by_task,
    last_by_task,
    scores,
    scores_on_seen,
    transfer_by_task,
)
from gift_core.metrics.zero_shot import ZERO_SHOT, with_zero_shot

__all__ = [
    "NAMES",
    "ZERO_SHOT",
    "accuracy_matrix",
    "accuracy_on_seen",
    "avg_by_task",
    "forgetting_by_task",
    "is_class_incremental",
    "last_by_task",
    "metrics_by_method",
    "metrics_by_task",
    "scores",
    "scores_on_seen",
    "transfer_by_task",
    "with_zero_shot",
]


def metrics_by_method(rows: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """{"<method>": {"transfer", "avg", "last", "forgetting"}} in percent, unrounded; the zero-shot row comes first.

    `rows` has the columns method, step, trained_task, eval_task, top1 (0-1). Task-incremental and class-incremental
    methods may stand side by side; the latter have neither transfer nor forgetting: None. UserError names the cells
    that are missing or given twice.
    """
    complete = with_zero_shot(rows)
    return {method: _in_percent(_scores_of(complete, method)) for method in methods_of(complete)}


def metrics_by_task(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, float | None]]]:
    """{"<method>": {"<task>": {"transfer", "avg", "last", "forgetting"}}} in percent, unrounded, tasks in their order.

    Their means over the tasks are metrics_by_method's numbers. The first task has no transfer, the last one no
    forgetting: None. A class-incremental method has no rows by task: {}. `rows` and errors as in metrics_by_method.
    """
    complete = with_zero_shot(rows)
    return {
        method: {} if is_class_incremental(complete, method) else _rows_by_task(accuracy_matrix(complete, method))
        for method in methods_of(complete)
    }


def _scores_of(rows: pd.DataFrame, method: str) -> dict[str, float | None]:
    if is_class_incremental(rows, method):
        return scores_on_seen(accuracy_on_seen(rows, method))
    return scores(accuracy_matrix(rows, method))


def _rows_by_task(matrix: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    columns = {name: column.to_dict() for name, column in columns_by_task(matrix).items()}
    return {task: _in_percent({name: columns[name].get(task) for name in NAMES}) for task in matrix.columns}


def _in_percent(row: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else 100 * float(value) for name, value in row.items()}
