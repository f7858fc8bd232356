"""The metrics of one method, from its accuracy matrix or its accuracies on the classes seen so far."""

from __future__ import annotations

import numpy as np
import pandas as pd

NAMES = ("transfer", "avg", "last", "forgetting")


def scores(matrix: pd.DataFrame) -> dict[str, float | None]:
    """The four metrics of an accuracy matrix, in its own unit.

    transfer: mean over tasks j >= 1 of the mean over steps i < j of A[i][j]; avg: mean of A; last: mean of the last
    row; forgetting: mean over tasks j before the last one of A[j][j] - A[T][j]. With one task, transfer and forgetting
    do not exist: None.
    """
    return {name: _mean(column) for name, column in columns_by_task(matrix).items()}


def scores_on_seen(accuracies: pd.Series) -> dict[str, float | None]:
    """The metrics of a class-incremental method, in the unit of `accuracies` (accuracy_on_seen).

    avg: mean over the steps, each counting once; last: the last step. Accuracies on single tasks before and after do
    not exist here, so transfer and forgetting are None.
    """
    return {"transfer": None, "avg": _mean(accuracies), "last": float(accuracies.iloc[-1]), "forgetting": None}


def transfer_by_task(matrix: pd.DataFrame) -> pd.Series:
    """Mean accuracy on each task before its own step, in the matrix's unit; the first task has none."""
    values = matrix.to_numpy(dtype=float)
    later = range(1, len(values))
    return pd.Series({matrix.columns[task]: float(values[:task, task].mean()) for task in later}, dtype=float)


def avg_by_task(matrix: pd.DataFrame) -> pd.Series:
    """Mean accuracy on each task over all steps, in the matrix's unit."""
    return matrix.mean(axis=0)


def last_by_task(matrix: pd.DataFrame) -> pd.Series:
    """Accuracy on each task after the last step, in the matrix's unit."""
    return matrix.iloc[-1].astype(float)


def forgetting_by_task(matrix: pd.DataFrame) -> pd.Series:
    """What each task lost from its own step to the last one, in the matrix's unit (below 0: it gained).

    The last task has none.
    """
    own = pd.Series(np.diag(matrix.to_numpy(dtype=float)), index=matrix.columns)
    return (own - last_by_task(matrix)).iloc[:-1]


def columns_by_task(matrix: pd.DataFrame) -> dict[str, pd.Series]:
    """{metric: its value for each task that has one}, in the matrix's unit."""
    return {
        "transfer": transfer_by_task(matrix),
        "avg": avg_by_task(matrix),
        "last": last_by_task(matrix),
        "forgetting": forgetting_by_task(matrix),
    }


def _mean(values: pd.Series) -> float | None:
    return float(np.mean(values.to_numpy(dtype=float))) if len(values) else None
