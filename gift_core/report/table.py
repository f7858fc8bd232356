"""The result table: Transfer, Avg, Last, Forgetting of the zero-shot model and of every method, the best marked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gift_core.metrics import ZERO_SHOT
from gift_core.report.drawing import style_of
from gift_core.report.record import RunRecord
from gift_core.report.words import label, number

COLUMNS = ("transfer", "avg", "last", "forgetting")
LOWER_IS_BETTER = ("forgetting",)


@dataclass(frozen=True)
class Figure:
    text: str
    best: bool


@dataclass(frozen=True)
class ResultRow:
    method: str
    name: str
    style: str
    figures: tuple[Figure, ...]


def result_rows(record: RunRecord) -> list[ResultRow]:
    """The zero-shot row, then the methods in params.yaml's order; the best of the methods is marked in each column."""
    best = {column: _best(record, column) for column in COLUMNS}
    rows = [ResultRow(ZERO_SHOT, label(ZERO_SHOT), "reference", _figures(record, ZERO_SHOT, {}))]
    for position, method in enumerate(record.methods):
        rows.append(ResultRow(method, label(method), style_of(position), _figures(record, method, best)))
    return rows


def _figures(record: RunRecord, method: str, best: dict[str, str]) -> tuple[Figure, ...]:
    values = {column: number(record.metrics[method][column]) for column in COLUMNS}
    return tuple(Figure(values[column], values[column] == best.get(column)) for column in COLUMNS)


def _best(record: RunRecord, column: str) -> str:
    """The best value as printed, so that methods equal in print are all marked; empty with a single method."""
    values = [record.metrics[method][column] for method in record.methods]
    defined = [value for value in values if value is not None and not math.isnan(value)]
    if len(defined) < 2:
        return ""
    return number(min(defined) if column in LOWER_IS_BETTER else max(defined))
