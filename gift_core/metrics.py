"""Transfer, Avg, Last and Forgetting of a continual learner, from rows of accuracies (ZSCL, section 5.1).

Task-incremental (MTIL): A[i][j] is the accuracy on the task of step j after step i; steps count from 0 in the order of
training. Class-incremental (CIL): after each step one test on all classes seen so far, so a method has one row a step,
whose eval_task is the word "seen"; Avg is the mean over the steps, Last the last step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gift_core.errors import UserError

PRETRAINED_STEP = -1
ZERO_SHOT = "zero_shot"
SEEN = "seen"
NAMES = ("transfer", "avg", "last", "forgetting")
CELLS_NAMED = 5


def metrics_by_method(rows: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """{"<method>": {"transfer", "avg", "last", "forgetting"}} in percent, unrounded; the zero-shot row comes first.

    `rows` has the columns method, step, trained_task, eval_task, top1 (0-1). Task-incremental and class-incremental
    methods may stand side by side; the latter have neither transfer nor forgetting: None. UserError names the cells
    that are missing or given twice.
    """
    complete = with_zero_shot(rows)
    return {method: _in_percent(_scores_of(complete, method)) for method in _methods(complete)}


def metrics_by_task(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, float | None]]]:
    """{"<method>": {"<task>": {"transfer", "avg", "last", "forgetting"}}} in percent, unrounded, tasks in their order.

    Their means over the tasks are metrics_by_method's numbers. The first task has no transfer, the last one no
    forgetting: None. A class-incremental method has no rows by task: {}. `rows` and errors as in metrics_by_method.
    """
    complete = with_zero_shot(rows)
    return {
        method: {} if is_class_incremental(complete, method) else _rows_by_task(accuracy_matrix(complete, method))
        for method in _methods(complete)
    }


def is_class_incremental(rows: pd.DataFrame, method: str) -> bool:
    """Whether the method was tested on everything seen so far: the eval_task of all its rows is "seen"."""
    return set(rows.loc[rows["method"] == method, "eval_task"]) == {SEEN}


def scores(matrix: pd.DataFrame) -> dict[str, float | None]:
    """The four metrics of an accuracy matrix, in its own unit.

    transfer: mean over tasks j >= 1 of the mean over steps i < j of A[i][j]; avg: mean of A; last: mean of the last
    row; forgetting: mean over tasks j before the last one of A[j][j] - A[T][j]. With one task, transfer and forgetting
    do not exist: None.
    """
    return {name: _mean(column) for name, column in _columns_by_task(matrix).items()}


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


def accuracy_matrix(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """A of one method: a row for each step (named by the task it trained), a column for each task, in that order."""
    own = _own_rows(rows, method)
    order = _task_order(own, method)
    _require_trained(own, order, method)
    wide: pd.DataFrame = own.pivot(index="trained_task", columns="eval_task", values="top1")
    wide = wide.reindex(index=order, columns=order)
    _require_complete(wide, method)
    return wide


def accuracy_on_seen(rows: pd.DataFrame, method: str) -> pd.Series:
    """Accuracies (0-1) of a class-incremental method on all classes seen so far, by the task that each step trained."""
    own = _own_rows(rows, method)
    order = _task_order(own, method)
    by_task: pd.Series = own.set_index("trained_task")["top1"]
    return by_task.reindex(order)


def with_zero_shot(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the pre-trained model (step -1) as a method of its own, zero_shot, the same at every step.

    Each method's evaluation holds the pre-trained model's rows; those of the first method are taken, in the order of
    its tasks (where it has no other rows, in that of the next method). Rows that have a zero_shot method already, or no
    pre-trained model, come back without step -1.
    """
    before = rows[rows["step"] == PRETRAINED_STEP]
    after: pd.DataFrame = rows[rows["step"] != PRETRAINED_STEP]
    if before.empty or ZERO_SHOT in set(after["method"]):
        return after
    first = str(before["method"].iloc[0])
    own = before[before["method"] == first]
    order = _order_for_zero_shot(after, first)
    _require_pretrained_on_all(own, order, first)
    repeated = [own.assign(method=ZERO_SHOT, step=step, trained_task=task) for step, task in enumerate(order)]
    whole: pd.DataFrame = pd.concat([*repeated, after], ignore_index=True)
    return whole


def _scores_of(rows: pd.DataFrame, method: str) -> dict[str, float | None]:
    if is_class_incremental(rows, method):
        return scores_on_seen(accuracy_on_seen(rows, method))
    return scores(accuracy_matrix(rows, method))


def _columns_by_task(matrix: pd.DataFrame) -> dict[str, pd.Series]:
    return {
        "transfer": transfer_by_task(matrix),
        "avg": avg_by_task(matrix),
        "last": last_by_task(matrix),
        "forgetting": forgetting_by_task(matrix),
    }


def _rows_by_task(matrix: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    columns = {name: column.to_dict() for name, column in _columns_by_task(matrix).items()}
    return {task: _in_percent({name: columns[name].get(task) for name in NAMES}) for task in matrix.columns}


def _methods(rows: pd.DataFrame) -> list[str]:
    return [str(method) for method in dict.fromkeys(rows["method"])]


def _own_rows(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    own: pd.DataFrame = rows[(rows["method"] == method) & (rows["step"] != PRETRAINED_STEP)]
    _require_unique(own, method)
    return own


def _order_for_zero_shot(after: pd.DataFrame, first: str) -> list[str]:
    methods = _methods(after)
    learner = first if first in methods or not methods else methods[0]
    return _task_order(after[after["method"] == learner], learner)


def _task_order(rows: pd.DataFrame, method: str) -> list[str]:
    """The tasks by the step that trained them; steps must be 0, 1, 2 ... with one task each."""
    pairs = rows[["step", "trained_task"]].drop_duplicates().sort_values("step", kind="stable")
    steps = [int(step) for step in pairs["step"]]
    order = [str(task) for task in pairs["trained_task"]]
    if not steps or steps != list(range(len(steps))):
        found = ", ".join(f"{step} ({task})" for step, task in zip(steps, order, strict=True)) or "none"
        raise UserError(
            f"accuracies of {method}: steps are {found}; expected 0, 1, 2 ..., each with one trained task. "
            "Count the steps from 0 in the order of training."
        )
    again = [task for step, task in enumerate(order) if task in order[:step]]
    if again:
        raise UserError(
            f"accuracies of {method}: trained on {', '.join(again)} in more than one step. "
            "Give each step a trained_task of its own."
        )
    return order


def _require_trained(rows: pd.DataFrame, order: Sequence[str], method: str) -> None:
    unknown = sorted(set(rows["eval_task"]) - set(order))
    if SEEN in unknown:
        raise UserError(
            f"accuracies of {method}: evaluated on {SEEN!r}, which means all classes seen so far (class-incremental), "
            "and on single tasks too. Keep one of the two, or give them two methods' names."
        )
    if unknown:
        raise UserError(
            f"accuracies of {method}: evaluated on {', '.join(unknown)}, which no step trained; "
            f"trained were {', '.join(order)}. Correct the names, or leave these rows out."
        )


def _require_unique(rows: pd.DataFrame, method: str) -> None:
    doubled = rows[rows.duplicated(["step", "eval_task"])]
    if not doubled.empty:
        cells = [f"step {step} on {task}" for step, task in zip(doubled["step"], doubled["eval_task"], strict=True)]
        raise UserError(f"accuracies of {method}: given twice: {_first(cells)}. Keep one of each.")


def _require_complete(wide: pd.DataFrame, method: str) -> None:
    missing = wide.isna().to_numpy()
    future = np.triu(np.ones_like(missing), k=1)
    if future.any() and (missing == future).all():
        raise UserError(
            f"accuracies of {method}: no task was tested before its own step, so Transfer and Avg do not exist. Test "
            f"every step on every task; in class-incremental learning give one row a step, with eval_task {SEEN!r}."
        )
    if missing.any():
        cells = [f"step {step} on {wide.columns[task]}" for step, task in np.argwhere(missing)]
        raise UserError(f"accuracies of {method}: missing: {_first(cells)}. Run stage evaluate, or add these rows.")


def _require_pretrained_on_all(before: pd.DataFrame, order: Sequence[str], method: str) -> None:
    tested = set(before["eval_task"])
    if SEEN in tested:
        raise UserError(
            f"accuracies of {method}: step -1 on {SEEN!r}: before the first step nothing is seen. Give the pre-trained "
            f"model a method of its own, {ZERO_SHOT}, with a row a step."
        )
    cells = [f"step -1 on {task}" for task in order if task not in tested]
    if cells:
        raise UserError(f"accuracies of {method}: missing: {_first(cells)}. Add these rows, or leave out step -1.")


def _first(cells: Sequence[str]) -> str:
    named = ", ".join(cells[:CELLS_NAMED])
    rest = len(cells) - CELLS_NAMED
    return f"{named} and {rest} more" if rest > 0 else named


def _in_percent(row: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else 100 * float(value) for name, value in row.items()}


def _mean(values: pd.Series) -> float | None:
    return float(np.mean(values.to_numpy(dtype=float))) if len(values) else None
