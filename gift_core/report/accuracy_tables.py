"""The result table, and accuracy matrices with cells colored by their difference to the zero-shot model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gift_core.metrics import ZERO_SHOT
from gift_core.report.accuracies import SEPARATE_MODEL_COLUMNS, accuracy_interval
from gift_core.report.highlight import styles_of
from gift_core.report.labels import LOWER_IS_BETTER, ShadedCell, label, number, signed
from gift_core.report.run_record import RunRecord

SHADE_POINTS = (1.0, 5.0, 10.0, 20.0, 35.0)  # percentage points at which the next darker shade begins
FEW_TASKS = 7  # with more tasks, cells show whole percents


@dataclass(frozen=True)
class ResultCell:
    """A value as printed, whether it is the best of its column, and its 95% interval for the number of test images."""

    text: str
    best: bool
    interval: str = ""


@dataclass(frozen=True)
class ResultRow:
    """A row of the result table; `style` is a CSS class."""

    method: str
    name: str
    style: str
    cells: tuple[ResultCell, ...]


@dataclass(frozen=True)
class MatrixRow:
    """The model after one step: its accuracy on each task and their mean."""

    number: str
    name: str
    cells: tuple[ShadedCell, ...]
    mean: str


@dataclass(frozen=True)
class Matrix:
    """The accuracy matrix of a method; `summary` is shown while it is folded."""

    method: str
    title: str
    summary: str
    rows: tuple[MatrixRow, ...]


def result_rows(record: RunRecord) -> list[ResultRow]:
    """The zero-shot row, then the contenders in the order of params.yaml. The best value of each column is marked."""
    best = {column: _best(record, column) for column in record.columns}
    cells = _cells(record, record.scores[ZERO_SHOT], {}, last_interval(record, ZERO_SHOT))
    zero_shot = ResultRow(ZERO_SHOT, label(ZERO_SHOT), "reference", cells)
    return [zero_shot, *(_result_row(record, method, best) for method in record.contenders)]


def reference_rows(record: RunRecord) -> list[ResultRow]:
    """The upper references, never marked as best. With a separate model per task, only Own task has a value."""
    return [_result_row(record, method, {}) for method in record.references]


def published_rows(record: RunRecord) -> list[ResultRow]:
    """Published results of the same benchmark in the order of their table, empty if there are none to show."""
    published = record.published.methods if record.published else ()
    return [ResultRow(row.method, label(row.method), "", _cells(record, row.scores, {})) for row in published]


def accuracy_matrices(record: RunRecord, methods: Iterable[str]) -> list[Matrix]:
    """The matrices of these methods, each with the row of the pre-trained model on top."""
    return [_matrix(method, record.percent(method), _matrix_summary(record, method)) for method in methods]


def published_matrices(record: RunRecord) -> list[Matrix]:
    """The matrices of the methods whose accuracies are published, each with the published zero-shot row on top."""
    published = record.published.methods if record.published else ()
    return [
        _matrix(row.method, row.matrix, f"Last {number(row.scores['last'])}")
        for row in published
        if row.matrix is not None and row.method != ZERO_SHOT
    ]


def shade_of(difference: float) -> str:
    """The CSS class of a difference to zero-shot in percentage points: same, gain1 to gain5, loss1 to loss5."""
    depth = sum(abs(difference) >= threshold for threshold in SHADE_POINTS)
    if depth == 0:
        return "same"
    return f"{'gain' if difference > 0 else 'loss'}{depth}"


def tooltip(what: str, percent: float, zero_shot: float) -> str:
    """The tooltip of a shaded cell: the accuracy and its difference to zero-shot."""
    return f"{what}\t{number(percent)}\nto zero-shot\t{signed(percent - zero_shot)}"


def last_interval(record: RunRecord, method: str) -> str:
    """The 95% interval of Last in percent for its number of test images: `76.4–83.2`."""
    images = record.test_images
    if record.seen is None:
        percents, counts = record.percent(method).iloc[-1].tolist(), list(images.values())
    else:
        percents, counts = [float(record.seen[method].iloc[-1])], [images[record.tasks[-1]]]
    return "–".join(map(number, accuracy_interval(percents, counts)))


def _result_row(record: RunRecord, method: str, best: dict[str, str]) -> ResultRow:
    separate = method in record.separate_models
    scores = {
        column: record.scores[method][column] for column in (SEPARATE_MODEL_COLUMNS if separate else record.columns)
    }
    cells = _cells(record, scores, best, "" if separate else last_interval(record, method))
    return ResultRow(method, label(method), styles_of(record)[method], cells)


def _cells(
    record: RunRecord, scores: Mapping[str, float | None], best: dict[str, str], last_interval: str = ""
) -> tuple[ResultCell, ...]:
    texts = {column: number(scores.get(column)) for column in record.columns}
    return tuple(
        ResultCell(text, text == best.get(column), last_interval if column == "last" else "")
        for column, text in texts.items()
    )


def _best(record: RunRecord, column: str) -> str:
    """The best value as printed, so that methods that print the same are all marked. Empty for a single contender."""
    values = [record.scores[method][column] for method in record.contenders]
    defined = [value for value in values if value is not None and not math.isnan(value)]
    if len(defined) < 2:
        return ""
    return number(min(defined) if column in LOWER_IS_BETTER else max(defined))


def _matrix(method: str, percent: pd.DataFrame, summary: str) -> Matrix:
    tasks, rows = [str(task) for task in percent.columns], []
    for step in range(len(percent)):
        name = "zero-shot" if step == 0 else tasks[step - 1]
        cells = tuple(_matrix_cell(percent, tasks, step, position) for position in range(len(tasks)))
        rows.append(MatrixRow(str(step) if step else "", name, cells, number(float(percent.iloc[step].mean()))))
    return Matrix(method, label(method), summary, tuple(rows))


def _matrix_summary(record: RunRecord, method: str) -> str:
    if method in record.separate_models:
        return f"Own task {number(record.scores[method]['own'])}"
    return f"Last {number(record.scores[method]['last'])}"


def _matrix_cell(percent: pd.DataFrame, tasks: Sequence[str], step: int, position: int) -> ShadedCell:
    values = percent.to_numpy()
    value, zero_shot = float(values[step, position]), float(values[0, position])
    text = number(value) if len(tasks) <= FEW_TASKS else f"{value:.0f}"
    moment = "before training" if step == 0 else f"after {tasks[step - 1]}"
    exact = tooltip(f"{tasks[position]} {moment}", value, zero_shot)
    return ShadedCell(text, shade_of(value - zero_shot), exact, own=step == position + 1)
