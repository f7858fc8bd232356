"""Accuracy tables of runs that have not ended: the rows that can be scored, and how far they go."""

from __future__ import annotations

import pandas as pd

from gift_core.artifacts.accuracy import CROSS_DOMAIN, PRETRAINED_STEP, PROBE, TASK_INCREMENTAL
from gift_core.artifacts.accuracy_rows import without_probes
from gift_core.quantities import first_names


def finished_part(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Returns the rows that metrics.summarize can score, and a text on each method of which some are left out.

    Left out are a method's last step if it was not tested on all tasks learned so far, and the tests on tasks that no
    other step has learned. All other gaps stay, for summarize to refuse. Class-incremental rows have neither.
    """
    parts: list[pd.DataFrame] = []
    texts: list[str] = []
    learned: dict[str, list[str]] = {}  # by method, in the order of training
    for method, own in rows.groupby("method", sort=False):
        if order := _task_order(own):
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


def _task_order(own: pd.DataFrame) -> list[str]:
    """The tasks that a method with an accuracy matrix has learned. None where summarize will refuse its steps."""
    after = own[own["step"] != PRETRAINED_STEP]
    pairs = after[["step", "trained_task"]].drop_duplicates().sort_values("step", kind="stable")
    is_sequence = list(pairs["step"]) == list(range(len(pairs))) and pairs["trained_task"].is_unique
    has_matrix = set(own["protocol"]) in ({TASK_INCREMENTAL}, {CROSS_DOMAIN})
    return list(pairs["trained_task"]) if is_sequence and has_matrix else []
