"""Accuracy matrices as tables whose cells are coloured by the distance to the zero-shot model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from gift_core.metrics import ZERO_SHOT
from gift_core.report.record import RunRecord
from gift_core.report.words import label, number

SHADES = (1.0, 5.0, 10.0, 20.0, 35.0)  # percentage points from zero-shot at which the next deeper shade begins
ROOMY_TASKS = 7  # with more tasks than this the cells show whole percents


@dataclass(frozen=True)
class Cell:
    """An accuracy in percent, its CSS class, and what the pointer shows."""

    text: str
    shade: str
    exact: str
    own: bool  # the task that this row has just trained


@dataclass(frozen=True)
class Row:
    """A model of the sequence: its accuracy on each task and their mean."""

    number: str
    name: str
    cells: tuple[Cell, ...]
    mean: str


@dataclass(frozen=True)
class Matrix:
    """A method's table; `summary` is the one figure to know of it while it is folded."""

    method: str
    title: str
    summary: str
    rows: tuple[Row, ...]


def shade_of(difference: float) -> str:
    """The CSS class of a difference to zero-shot in percentage points: same, gain1..gain5, loss1..loss5."""
    depth = sum(abs(difference) >= threshold for threshold in SHADES)
    if depth == 0:
        return "same"
    return f"{'gain' if difference > 0 else 'loss'}{depth}"


def matrices_of(record: RunRecord, methods: Iterable[str]) -> list[Matrix]:
    """The methods' matrices, the pre-trained model's row first in each."""
    return [_matrix(method, record.percent(method), _summary(record, method)) for method in methods]


def published_matrices(record: RunRecord) -> list[Matrix]:
    """Those of the published methods whose accuracies are known, the published zero-shot row first in each."""
    published = record.published.methods if record.published else ()
    return [
        _matrix(row.method, row.matrix, f"Last {number(row.figures['last'])}")
        for row in published
        if row.matrix is not None and row.method != ZERO_SHOT
    ]


def _matrix(method: str, percent: pd.DataFrame, summary: str) -> Matrix:
    tasks, rows = [str(task) for task in percent.columns], []
    for at in range(len(percent)):
        name = "zero-shot" if at == 0 else tasks[at - 1]
        cells = tuple(_cell(percent, tasks, at, position) for position in range(len(tasks)))
        rows.append(Row(str(at) if at else "", name, cells, number(float(percent.iloc[at].mean()))))
    return Matrix(method, label(method), summary, tuple(rows))


def _summary(record: RunRecord, method: str) -> str:
    if method in record.separate_models:
        return f"Own task {number(record.figures[method]['own'])}"
    return f"Last {number(record.figures[method]['last'])}"


def _cell(percent: pd.DataFrame, tasks: Sequence[str], at: int, position: int) -> Cell:
    value = float(percent.to_numpy()[at, position])
    difference = value - float(percent.to_numpy()[0, position])
    text = number(value) if len(tasks) <= ROOMY_TASKS else f"{value:.0f}"
    sign = "+" if difference > 0 else ""
    moment = "before training" if at == 0 else f"after {tasks[at - 1]}"
    exact = f"{tasks[position]} {moment}\t{number(value)}\nto zero-shot\t{sign}{number(difference)}"
    return Cell(text, shade_of(difference), exact, own=at == position + 1)
