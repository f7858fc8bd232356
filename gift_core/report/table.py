"""The result table: the metrics of the zero-shot model and every method, the best marked, references at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gift_core.metrics import ZERO_SHOT
from gift_core.report.emphasis import styles_of
from gift_core.report.record import RunRecord
from gift_core.report.words import label, number

TITLES = {"transfer": "Transfer", "avg": "Avg", "last": "Last", "forgetting": "Forgetting", "own": "Own task"}
OF_SEPARATE_MODELS = ("own",)  # a model a task: no one model has the other figures
LOWER_IS_BETTER = ("forgetting",)


@dataclass(frozen=True)
class Figure:
    """A figure in print, and whether it is the column's best."""

    text: str
    best: bool


@dataclass(frozen=True)
class ResultRow:
    """A method's figures; `style` is the CSS classes of its line."""

    method: str
    name: str
    style: str
    figures: tuple[Figure, ...]


def result_rows(record: RunRecord) -> list[ResultRow]:
    """The zero-shot row, then the contenders in params.yaml's order, the best of each column marked."""
    best = {column: _best(record, column) for column in record.columns}
    zero_shot = ResultRow(ZERO_SHOT, label(ZERO_SHOT), "reference", _figures(record, ZERO_SHOT, {}))
    return [zero_shot, *(_row(record, method, best) for method in record.contenders)]


def reference_rows(record: RunRecord) -> list[ResultRow]:
    """The upper references, none of them marked; of a model a task only the accuracy on its own task."""
    return [_row(record, method, {}) for method in record.references]


def published_rows(record: RunRecord) -> list[ResultRow]:
    """What others measured of the same benchmark, in the order of their table; empty where none may stand here."""
    published = record.published.methods if record.published else ()
    return [ResultRow(row.method, label(row.method), "", _printed(record, row.figures, {})) for row in published]


def _row(record: RunRecord, method: str, best: dict[str, str]) -> ResultRow:
    return ResultRow(method, label(method), styles_of(record)[method], _figures(record, method, best))


def _figures(record: RunRecord, method: str, best: dict[str, str]) -> tuple[Figure, ...]:
    shown = OF_SEPARATE_MODELS if method in record.separate_models else record.columns
    return _printed(record, {column: record.figures[method][column] for column in shown}, best)


def _printed(record: RunRecord, figures: Mapping[str, float | None], best: dict[str, str]) -> tuple[Figure, ...]:
    values = {column: number(figures.get(column)) for column in record.columns}
    return tuple(Figure(text, text == best.get(column)) for column, text in values.items())


def _best(record: RunRecord, column: str) -> str:
    """The best value as printed, so that methods equal in print are all marked; empty with a single contender."""
    values = [record.figures[method][column] for method in record.contenders]
    defined = [value for value in values if value is not None and not math.isnan(value)]
    if len(defined) < 2:
        return ""
    return number(min(defined) if column in LOWER_IS_BETTER else max(defined))
