"""The losses of losses.jsonl as the report shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from gift_core.artifacts.model_folder import ENTROPY, LOSSES, LossRow, read_losses
from gift_core.config.method_options import LossesConfig, MethodConfig
from gift_core.layout import Layout

# Other columns of losses.jsonl. The total contains the entropy of the teacher, which no training changes and which
# grows with the tasks: it would rise while every loss falls.
NOT_LOSSES = ("iteration", "learning_rate", "skipped", "total")
KL = " (KL)"  # ends the name of a cross-entropy to the teacher from which the teacher's entropy is subtracted
CONSOLIDATION = "consolidation"
LOSS_COLUMNS = ["method", "position", "task", "iteration", "loss", "value"]


def loss_values(rows: Sequence[LossRow], method: MethodConfig) -> pd.DataFrame:
    """The losses that the method has, a column for each, from the rows of losses.jsonl; the index is the iteration.

    A cross-entropy to the teacher becomes a KL divergence, named "distill (KL)": the teacher's entropy, which no
    training can change, is subtracted, so 0 means that the student equals the teacher. Rows without the entropy (of
    older models) keep the cross-entropy and its name. Zeros of a loss or consolidation that the method lacks are left
    out.
    """
    logged = pd.DataFrame(rows).set_index("iteration")
    absent = {*LossesConfig.model_fields} - {name for name, _ in method.losses.items()}
    if method.consolidation.kind == "none":
        absent |= {CONSOLIDATION}
    entropies = {name: f"{name}{ENTROPY}" for name in logged.columns}
    values = {}
    for name in logged.columns:
        if name not in (*NOT_LOSSES, *absent, *entropies.values()):
            has_entropy = entropies[name] in logged.columns
            values[f"{name}{KL}" if has_entropy else name] = logged[name] - (
                logged[entropies[name]] if has_entropy else 0
            )
    table: pd.DataFrame = pd.DataFrame(values)
    return table


def read_all_losses(layout: Layout, methods: Mapping[str, MethodConfig], tasks: Sequence[str]) -> pd.DataFrame:
    """LOSS_COLUMNS, one row per method, task, iteration and loss; losses in the order of their first appearance."""
    frames = [pd.DataFrame(columns=LOSS_COLUMNS)]
    for method, row in methods.items():
        for position, task in enumerate(tasks):
            wide = loss_values(read_losses(layout.model(method, task) / LOSSES), row)
            tidy = wide.reset_index().melt(id_vars="iteration", var_name="loss", value_name="value")
            frames.append(tidy.assign(method=method, position=position, task=task))
    losses: pd.DataFrame = pd.concat(frames[1:] or frames, ignore_index=True)[LOSS_COLUMNS]
    return losses
