"""Transfer, Avg, Last and Forgetting of a continual learner, from rows of accuracies (ZSCL, section 5.1).

A[i][j] is the accuracy on the task of step j after step i; steps count from 0 in the order of training.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gift_core.errors import UserError

PRETRAINED_STEP = -1
ZERO_SHOT = "zero_shot"
NAMES = ("transfer", "avg", "last", "forgetting")


def metrics_by_method(rows: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """{"<method>": {"transfer", "avg", "last", "forgetting"}} in percent, unrounded; the zero-shot row comes first.

    `rows` has the columns method, step, trained_task, eval_task, top1 (0-1). UserError names the cells that are missing
    or given twice.
    """
    complete = with_zero_shot(rows)
    return {
        str(method): {name: None if value is None else 100 * value for name, value in scores(matrix).items()}
        for method in dict.fromkeys(complete["method"])
        for matrix in [accuracy_matrix(complete, str(method))]
    }


def scores(matrix: pd.DataFrame) -> dict[str, float | None]:
    """The four metrics of an accuracy matrix, in its own unit.

    transfer: mean over tasks j >= 1 of the mean over steps i < j of A[i][j]; avg: mean of A; last: mean of the last
    row; forgetting: mean over tasks j before the last one of A[j][j] - A[T][j]. With one task, transfer and forgetting
    do not exist: None.
    """
    values = matrix.to_numpy(dtype=float)
    later = range(1, len(values))
    earlier = range(len(values) - 1)
    return {
        "transfer": _mean([float(values[:task, task].mean()) for task in later]),
        "avg": float(values.mean()),
        "last": float(values[-1].mean()),
        "forgetting": _mean([float(values[task, task] - values[-1, task]) for task in earlier]),
    }


def transfer_by_task(matrix: pd.DataFrame) -> pd.Series:
    """Mean accuracy on each task before its own step, in the matrix's unit; the first task has none."""
    values = matrix.to_numpy(dtype=float)
    later = range(1, len(values))
    return pd.Series({matrix.columns[task]: float(values[:task, task].mean()) for task in later}, dtype=float)


def avg_by_task(matrix: pd.DataFrame) -> pd.Series:
    """Mean accuracy on each task over all steps, in the matrix's unit."""
    return matrix.mean(axis=0)


def accuracy_matrix(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """A of one method: a row for each step (named by the task it trained), a column for each task, in that order."""
    own = rows[(rows["method"] == method) & (rows["step"] != PRETRAINED_STEP)]
    order = _task_order(own, method)
    _require_unique(own, method)
    wide: pd.DataFrame = own.pivot(index="trained_task", columns="eval_task", values="top1")
    wide = wide.reindex(index=order, columns=order)
    _require_complete(wide, method)
    return wide


def with_zero_shot(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the pre-trained model (step -1) as a method of its own, zero_shot, the same at every step.

    Each method's evaluation holds the pre-trained model's rows; those of the first method are taken. Rows that have a
    zero_shot method already, or no pre-trained model, come back without step -1.
    """
    before = rows[rows["step"] == PRETRAINED_STEP]
    after = rows[rows["step"] != PRETRAINED_STEP]
    if before.empty or ZERO_SHOT in set(rows["method"]):
        kept: pd.DataFrame = after
        return kept
    first = before["method"].iloc[0]
    own = before[before["method"] == first]
    order = _task_order(after[after["method"] == first], str(first))
    repeated = [own.assign(method=ZERO_SHOT, step=step, trained_task=task) for step, task in enumerate(order)]
    whole: pd.DataFrame = pd.concat([*repeated, after], ignore_index=True)
    return whole


def _task_order(rows: pd.DataFrame, method: str) -> list[str]:
    """The tasks by the step that trained them; steps must be 0, 1, 2 ... with one task each."""
    pairs = rows[["step", "trained_task"]].drop_duplicates().sort_values("step", kind="stable")
    steps = [int(step) for step in pairs["step"]]
    if not steps or steps != list(range(len(steps))):
        raise UserError(f"accuracies of {method}: steps are {steps}, expected 0, 1, 2 ... each with one trained task.")
    order = [str(task) for task in pairs["trained_task"]]
    unknown = sorted(set(rows["eval_task"]) - set(order))
    if unknown or len(set(order)) != len(order):
        raise UserError(f"accuracies of {method}: evaluated on {unknown}, which no step trained; trained were {order}.")
    return order


def _require_unique(rows: pd.DataFrame, method: str) -> None:
    doubled = rows[rows.duplicated(["step", "eval_task"])]
    if not doubled.empty:
        cells = [f"step {step} on {task}" for step, task in zip(doubled["step"], doubled["eval_task"], strict=True)]
        raise UserError(f"accuracies of {method}: given twice: {', '.join(cells)}.")


def _require_complete(wide: pd.DataFrame, method: str) -> None:
    holes = np.argwhere(wide.isna().to_numpy())
    if len(holes):
        cells = [f"step {step} on {wide.columns[task]}" for step, task in holes]
        raise UserError(f"accuracies of {method}: missing: {', '.join(cells)}. Run stage evaluate for these steps.")


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
