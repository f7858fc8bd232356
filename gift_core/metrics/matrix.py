"""Rows of accuracies become one method's matrix, or its course on the classes seen so far; holes are UserErrors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gift_core.artifacts.accuracy import SEEN
from gift_core.errors import UserError

PRETRAINED_STEP = -1
CELLS_NAMED = 5


def is_class_incremental(rows: pd.DataFrame, method: str) -> bool:
    """Whether the method was tested on everything seen so far: the eval_task of all its steps is "seen"."""
    own = rows[(rows["method"] == method) & (rows["step"] != PRETRAINED_STEP)]
    return set(own["eval_task"]) == {SEEN}


def accuracy_matrix(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """A of one method: a row for each step (named by the task it trained), a column for each task, in that order."""
    own = _own_rows(rows, method)
    order = task_order(own, method)
    _require_trained(own, order, method)
    wide: pd.DataFrame = own.pivot(index="trained_task", columns="eval_task", values="top1")
    wide = wide.reindex(index=order, columns=order)
    _require_complete(wide, method)
    return wide


def accuracy_on_seen(rows: pd.DataFrame, method: str) -> pd.Series:
    """Accuracies (0-1) of a class-incremental method on all classes seen so far, by the task that each step trained."""
    own = _own_rows(rows, method)
    order = task_order(own, method)
    by_task: pd.Series = own.set_index("trained_task")["top1"]
    return by_task.reindex(order)


def methods_of(rows: pd.DataFrame) -> list[str]:
    """The methods in the order of their first rows."""
    return [str(method) for method in dict.fromkeys(rows["method"])]


def _own_rows(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    own: pd.DataFrame = rows[(rows["method"] == method) & (rows["step"] != PRETRAINED_STEP)]
    _require_unique(own, method)
    return own


def task_order(rows: pd.DataFrame, method: str) -> list[str]:
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
        raise UserError(f"accuracies of {method}: given twice: {first_of(cells)}. Keep one of each.")


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
        raise UserError(f"accuracies of {method}: missing: {first_of(cells)}. Run stage evaluate, or add these rows.")


def first_of(cells: Sequence[str]) -> str:
    """The first few cells in print, and how many more there are."""
    named = ", ".join(cells[:CELLS_NAMED])
    rest = len(cells) - CELLS_NAMED
    return f"{named} and {rest} more" if rest > 0 else named
