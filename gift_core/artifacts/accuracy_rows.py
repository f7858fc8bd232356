"""Rows of accuracies from any source, checked before they are scored: whose they are, and whether all are there.

Rows have the columns method, protocol, step, trained_task, eval_task and top1 (0-1), as artifacts.accuracy reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gift_core.artifacts.accuracy import CLASS_INCREMENTAL, PRETRAINED_STEP, PROBE
from gift_core.errors import UserError
from gift_core.quantities import first_names

PHASE = "phase"  # the column; rows without it have no probes


def protocol_of(rows: pd.DataFrame, method: str) -> str:
    """Returns the protocol of the method's rows, one of PROTOCOLS. UserError if they have more than one."""
    found = sorted(set(rows.loc[rows["method"] == method, "protocol"]))
    if len(found) != 1:
        what = f"protocol is {' and '.join(found)}. Keep the rows of one protocol, or give the method two names."
        raise UserError(f"accuracies of {method}: {what}")
    return str(found[0])


def without_probes(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the tests on tasks that a step learns."""
    return rows[rows[PHASE] != PROBE] if PHASE in rows else rows


def probe_table(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """Returns the accuracies (0-1) on the probes: a row for the pre-trained model (-1) and each step, a column each.

    It is empty without probes. UserError for rows that are missing.
    """
    own: pd.DataFrame = rows[rows["method"] == method]
    probes = own[own[PHASE] == PROBE] if PHASE in own else own.iloc[:0]
    table: pd.DataFrame = probes.pivot(index="step", columns="eval_task", values="top1")
    order = list(dict.fromkeys(probes["eval_task"]))
    table = table.reindex(index=sorted({PRETRAINED_STEP, *own["step"]}) if order else [], columns=order)
    gaps = [f"step {step} on the probe {name}" for name in order for step in table.index[table[name].isna()]]
    _require_none(gaps, method, "Add them, or leave out the probe.")
    return table


def own_rows(rows: pd.DataFrame, method: str) -> tuple[pd.DataFrame, list[str]]:
    """Returns the method's rows from step 0 on, and its tasks in the order of training. UserError as task_order."""
    own: pd.DataFrame = rows[(rows["method"] == method) & (rows["step"] != PRETRAINED_STEP)]
    return own, task_order(own, method)


def task_order(rows: pd.DataFrame, method: str) -> list[str]:
    """Returns the tasks by the step that trained them. UserError unless steps are 0, 1, 2 ... with one task each."""
    pairs = rows[["step", "trained_task"]].drop_duplicates().sort_values("step", kind="stable")
    steps, order = [int(step) for step in pairs["step"]], [str(task) for task in pairs["trained_task"]]
    if not steps or steps != list(range(len(steps))):
        found = ", ".join(f"{step} ({task})" for step, task in zip(steps, order, strict=True)) or "none"
        what = f"steps are {found}; expected 0, 1, 2 ..., each with one trained task"
        raise UserError(f"accuracies of {method}: {what}. Count the steps from 0 in the order of training.")
    if again := [task for step, task in enumerate(order) if task in order[:step]]:
        what = f"trained on {', '.join(again)} in more than one step. Give each step a trained_task of its own."
        raise UserError(f"accuracies of {method}: {what}")
    return order


def require_complete(matrix: pd.DataFrame, method: str) -> None:
    """Raises UserError, which names the rows, where an accuracy matrix has gaps."""
    missing = matrix.isna().to_numpy()
    future = np.triu(np.ones_like(missing), k=1)
    if future.any() and (missing == future).all():
        raise UserError(
            f"accuracies of {method}: no task was tested before its own step, so Transfer and Avg do not exist. Test "
            f"every step on every task. Class-incremental rows need the column protocol, with {CLASS_INCREMENTAL}."
        )
    gaps = [f"step {step} on {matrix.columns[task]}" for step, task in np.argwhere(missing)]
    _require_none(gaps, method, "Run stage evaluate, or add these rows.")


def require_pretrained(rows: pd.DataFrame, order: Sequence[str], method: str) -> None:
    """Raises UserError where the pre-trained model was not tested on one of the tasks in `order`."""
    gaps = [f"step {PRETRAINED_STEP} on {task}" for task in order if task not in set(rows["eval_task"])]
    _require_none(gaps, method, "Add these rows, or leave out step -1.")


def _require_none(gaps: Sequence[str], method: str, remedy: str) -> None:
    if gaps:
        raise UserError(f"accuracies of {method}: missing: {first_names(gaps)}. {remedy}")


def finished_part(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Returns the rows that metrics.summarize can score, and a text on each method of which some are left out.

    Left out are a method's last step if it was not tested on all tasks learned so far, and the tests on tasks that no
    other step has learned. All other gaps stay, for summarize to refuse. Class-incremental rows have neither.
    """
    parts: list[pd.DataFrame] = []
    texts: list[str] = []
    learned: dict[str, list[str]] = {}  # by method, in the order of training
    for method, own in rows.groupby("method", sort=False):
        try:
            order = [] if CLASS_INCREMENTAL in set(own["protocol"]) else own_rows(own, str(method))[1]
        except UserError:  # which summarize raises again
            order = []
        if order:
            last = len(order) - 1
            tested = set(own.loc[own["step"] == last, "eval_task"])
            untested = [task for task in order if task not in tested] if last else []
            others = [task for task in dict.fromkeys(without_probes(own)["eval_task"]) if task not in order]
            done = order[:-1] if untested else order
            if untested or others:
                reason = f"Tests on tasks that no step has learned are left out: {first_names(others)}."
                if untested:
                    reason = f"Step {last} ({order[last]}) is left out: it was not tested on {first_names(untested)}."
                texts.append(f"{method}: scored up to step {len(done) - 1} ({done[-1]}). {reason}")
            own = own[(own["step"] < len(done)) & (own["eval_task"].isin(done) | (own["phase"] == PROBE))]
            learned[str(method)] = done
        parts.append(own)
    kept = pd.concat(parts).sort_index()
    tasks_of_first = next(iter(learned.values()), list(kept["eval_task"]))
    pretrained = (kept["step"] == PRETRAINED_STEP) & ~kept["method"].isin(list(learned))  # a method of its own
    return kept[~pretrained | kept["eval_task"].isin(tasks_of_first) | (kept["phase"] == PROBE)], texts
