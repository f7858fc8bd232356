"""The pre-trained model as a method of its own, zero_shot: the reference of every table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gift_core.artifacts.accuracy import SEEN, seen_until, task_seen_until
from gift_core.errors import UserError
from gift_core.metrics.matrix import PRETRAINED_STEP, first_of, methods_of, task_order

ZERO_SHOT = "zero_shot"


def with_zero_shot(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the pre-trained model (step -1) as a method of its own, zero_shot, the same at every step.

    Each method's evaluation holds the pre-trained model's rows; those of the first method are taken, in the order of
    its tasks (where it has no other rows, in that of the next method). Class-incremental, they name the moment by
    "seen:<task>" and become one row a step. Rows that have a zero_shot method already, or no pre-trained model, come
    back without step -1.
    """
    before = rows[rows["step"] == PRETRAINED_STEP]
    after: pd.DataFrame = rows[rows["step"] != PRETRAINED_STEP]
    if before.empty or ZERO_SHOT in set(after["method"]):
        return after
    first = str(before["method"].iloc[0])
    own = before[before["method"] == first]
    order = _order_for_zero_shot(after, first)
    course = _course_on_seen if own["eval_task"].map(task_seen_until).notna().any() else _every_step_alike
    whole: pd.DataFrame = pd.concat([*course(own, order, first), after], ignore_index=True)
    return whole


def _every_step_alike(before: pd.DataFrame, order: Sequence[str], method: str) -> list[pd.DataFrame]:
    _require_all(before, order, method)
    return [before.assign(method=ZERO_SHOT, step=step, trained_task=task) for step, task in enumerate(order)]


def _course_on_seen(before: pd.DataFrame, order: Sequence[str], method: str) -> list[pd.DataFrame]:
    _require_all(before, [seen_until(task) for task in order], method)
    moments = [before[before["eval_task"] == seen_until(task)] for task in order]
    named = zip(moments, enumerate(order), strict=True)
    return [row.assign(method=ZERO_SHOT, step=step, trained_task=task, eval_task=SEEN) for row, (step, task) in named]


def _order_for_zero_shot(after: pd.DataFrame, first: str) -> list[str]:
    methods = methods_of(after)
    learner = first if first in methods or not methods else methods[0]
    return task_order(after[after["method"] == learner], learner)


def _require_all(before: pd.DataFrame, wanted: Sequence[str], method: str) -> None:
    tested = set(before["eval_task"])
    if SEEN in tested:
        raise UserError(
            f"accuracies of {method}: step -1 on {SEEN!r}: before the first step nothing is seen. Name the moment, "
            f"{seen_until('<task>')!r}, or give the pre-trained model a method of its own, {ZERO_SHOT}, a row a step."
        )
    cells = [f"step -1 on {name}" for name in wanted if name not in tested]
    if cells:
        raise UserError(f"accuracies of {method}: missing: {first_of(cells)}. Add these rows, or leave out step -1.")
