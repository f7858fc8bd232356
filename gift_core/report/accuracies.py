"""Accuracy files of whole methods: read, checked against each other, and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.metrics import ZERO_SHOT, accuracy_matrix, metrics_by_method, with_zero_shot

Metrics = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Measured:
    """Of the zero-shot model and each method: A in percent with the pre-trained row on top, and the four metrics."""

    matrices: Mapping[str, pd.DataFrame]
    metrics: Metrics


def read_accuracies(
    layout: Layout, methods: tuple[str, ...], tasks: tuple[str, ...]
) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """All rows, and for each method the metadata of its last file, which vouch for the whole chain.

    ContractError where a file is missing, or two methods were measured with different models or images.
    """
    rows, hashes = [], {}
    for method in methods:
        for task in tasks:
            of_task, hashes[method] = read_accuracy(layout.accuracy(method, task))
            rows.append(of_task)
    _require_comparable(layout, hashes)
    return pd.concat(rows, ignore_index=True), hashes


def measure(layout: Layout, accuracy: pd.DataFrame, methods: tuple[str, ...], tasks: tuple[str, ...]) -> Measured:
    """The matrices and metrics of the zero-shot model and `methods`; ContractError for holes or another sequence."""
    try:
        complete = with_zero_shot(accuracy)
        by_name = {method: accuracy_matrix(complete, method) * 100.0 for method in (ZERO_SHOT, *methods)}
        metrics = metrics_by_method(accuracy)
    except UserError as error:
        raise _broken(layout, str(error)) from error
    for method, matrix in by_name.items():
        if tuple(matrix.columns) != tasks:
            raise _broken(
                layout, f"{method} was trained on {', '.join(matrix.columns)}, the sequence is {', '.join(tasks)}."
            )
    zero_shot = by_name[ZERO_SHOT].iloc[:1]
    matrices = {name: pd.concat([zero_shot, matrix]) for name, matrix in by_name.items()}
    return Measured(matrices, {name: metrics[name] for name in by_name})


def own_task(matrix: pd.DataFrame) -> float:
    """Mean over the tasks of the accuracy right after their own step; `matrix` has the pre-trained row on top."""
    return float(np.diagonal(matrix.to_numpy(dtype=float)[1:]).mean())


def _require_comparable(layout: Layout, hashes: Mapping[str, Mapping[str, str]]) -> None:
    """Raise ContractError where two methods started from different models or were tested on different images."""
    seen: dict[str, tuple[str, str]] = {}
    for method, notes in hashes.items():
        for name, digest in notes.items():
            if name.startswith("task:") or name == "model:pretrained":
                first, expected = seen.setdefault(name, (method, digest))
                if digest != expected:
                    raise _broken(layout, f"{first} and {method} were measured with different versions of {name}.")


def _broken(layout: Layout, problem: str) -> ContractError:
    folder = layout.accuracy("method", "task").parent.parent
    return ContractError(f"{folder}: {problem} Re-make it with: dvc repro evaluate")
