"""The result table, and accuracy matrices with cells colored by their difference to the zero-shot model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gift_core.metrics import ZERO_SHOT
from gift_core.report.accuracies import SEPARATE_MODEL_COLUMNS, accuracy_interval
from gift_core.report.highlight import reading_order, styles_of
from gift_core.report.labels import LOWER_IS_BETTER, ShadedCell, label, number, signed
from gift_core.report.run_record import RunRecord

SHADE_POINTS = (1.0, 5.0, 10.0, 20.0, 35.0)  # percentage points at which the next darker shade begins
FEW_TASKS = 7  # with more tasks, cells show whole percents


@dataclass(frozen=True)
class ResultCell:
    """A value as printed, whether it is the best of its column, and what is below it.

    Below Last it is the 95% interval for the number of test images, below the accuracy on probes the difference to
    zero-shot.
    """

    text: str
    best: bool
    below: str = ""


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


@dataclass(frozen=True)
class ShadedRow:
    """A test of all methods: its name, its number of classes or images, and the accuracies, shaded by zero-shot."""

    number: str
    name: str
    count: str
    zero_shot: str
    cells: tuple[ShadedCell, ...]


@dataclass(frozen=True)
class ShadedTable:
    """A column for each method, a row for each test. The titles are those of the first two columns."""

    titles: tuple[str, str]
    caption: str
    methods: tuple[str, ...]
    rows: tuple[ShadedRow, ...]


def result_rows(record: RunRecord) -> list[ResultRow]:
    """The zero-shot row, then the contenders in the order of params.yaml. The best value of each column is marked."""
    best = {column: _best(record, column) for column in record.columns}
    cells = _cells(record, record.scores[ZERO_SHOT], {}, {"last": last_interval(record, ZERO_SHOT)})
    zero_shot = ResultRow(ZERO_SHOT, label(ZERO_SHOT), "reference", cells)
    return [zero_shot, *(_result_row(record, method, best) for method in record.contenders)]


def reference_rows(record: RunRecord) -> list[ResultRow]:
    """The upper references, never marked as best. With a separate model per task, only Own task has a value."""
    return [_result_row(record, method, {}) for method in record.references]


def published_rows(record: RunRecord) -> list[ResultRow]:
    """Published results of the same benchmark in the order of their table, empty if there are none to show."""
    published = record.published.methods if record.published else ()
    return [ResultRow(row.method, label(row.method), "", _cells(record, row.scores, {}, {})) for row in published]


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


def step_table(record: RunRecord, seen: pd.DataFrame) -> ShadedTable:
    """A class-incremental run: the accuracies after every step. `seen` is in percent, see RunScores."""
    methods = tuple(reading_order(record, record.methods))
    rows = tuple(
        _shaded_row(
            methods, seen.iloc[step], (str(step + 1), task), f"{record.classes_seen[step]:,}", f"step {step + 1}"
        )
        for step, task in enumerate(record.tasks)
    )
    caption = "Accuracy in percent on all classes seen so far, after every step"
    return ShadedTable(("step", "classes"), caption, methods, rows)


def probe_table(record: RunRecord) -> ShadedTable:
    """The accuracies on each probe, a task that no step learns, after the last step, and their mean."""
    methods = tuple(reading_order(record, record.continued))
    end = pd.DataFrame({method: record.probes[method].iloc[-1] for method in (*methods, ZERO_SHOT)})
    rows = [
        _shaded_row(methods, end.loc[name], ("", name), f"{count:,}", f"all tasks, on {name}")
        for name, count in record.probe_images.items()
    ]
    if len(rows) > 1:
        rows.append(
            _shaded_row(methods, end.mean(), ("", "mean"), f"{sum(record.probe_images.values()):,}", "all tasks")
        )
    return ShadedTable(("probe", "images"), "Accuracy on each probe after the last step", methods, tuple(rows))


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
    scores = record.scores[method]
    if method in record.separate_models:
        cells = _cells(record, {column: scores[column] for column in SEPARATE_MODEL_COLUMNS}, best, {})
    else:
        gained = {"probes": signed(-record.metrics[method]["probes"]["loss"])} if record.probes else {}
        cells = _cells(record, scores, best, {"last": last_interval(record, method), **gained})
    return ResultRow(method, label(method), styles_of(record)[method], cells)


def _cells(
    record: RunRecord, scores: Mapping[str, float | None], best: dict[str, str], below: Mapping[str, str]
) -> tuple[ResultCell, ...]:
    texts = {column: number(scores.get(column)) for column in record.columns}
    return tuple(ResultCell(text, text == best.get(column), below.get(column, "")) for column, text in texts.items())


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


def _shaded_row(
    methods: Sequence[str], percent: pd.Series[float], name: tuple[str, str], count: str, moment: str
) -> ShadedRow:
    """`percent` is by method, zero_shot among them."""
    zero_shot = float(percent[ZERO_SHOT])
    cells = []
    for method in methods:
        value = float(percent[method])
        exact = tooltip(f"{label(method)} after {moment}", value, zero_shot)
        cells.append(ShadedCell(number(value), shade_of(value - zero_shot), exact))
    return ShadedRow(*name, count, number(zero_shot), tuple(cells))
