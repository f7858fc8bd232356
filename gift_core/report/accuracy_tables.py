"""The section with the result: the table of all methods, upper references and published rows, and notes to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gift_core.method.metrics import ZERO_SHOT
from gift_core.published.mtil import MODEL
from gift_core.report.accuracies import SEPARATE_MODEL_COLUMNS, accuracy_interval
from gift_core.report.facts import data_notes, differences
from gift_core.report.heat_tables import published_matrices
from gift_core.report.highlight import styles_of
from gift_core.report.labels import COLUMN_TITLES, LOWER_IS_BETTER, label, number, signed
from gift_core.report.published_results import DATA_SET_TOLERANCE, data_set_rows
from gift_core.report.run_record import RunRecord, Section


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


def result(record: RunRecord) -> Iterator[Section]:
    """Yields the section with the result table."""
    shown = {
        "notes": data_notes(record),
        "differences": differences(record),
        "titles": [COLUMN_TITLES[column] for column in record.columns],
        "rows": result_rows(record),
        "reference_rows": reference_rows(record),
        "published_rows": published_rows(record),
        "published_matrices": published_matrices(record),
        "check_rows": data_set_rows(record.published.zero_shot.accuracies) if record.published else {},
        "tolerance": f"{DATA_SET_TOLERANCE:g}",
        "model_of_published": MODEL,
    }
    yield Section("result", "Result", "result.html.j2", shown)


def result_rows(record: RunRecord) -> list[ResultRow]:
    """The zero-shot row, then the contenders in the order of params.yaml. The best value of each column is marked."""
    best = {}
    for column in record.columns:
        values = [record.scores[method][column] for method in record.contenders]
        defined = [value for value in values if value is not None and not math.isnan(value)]
        if len(defined) > 1:  # methods that print the same are all marked
            best[column] = number(min(defined) if column in LOWER_IS_BETTER else max(defined))
    return [_result_row(record, method, best) for method in (ZERO_SHOT, *record.contenders)]


def reference_rows(record: RunRecord) -> list[ResultRow]:
    """The upper references, never marked as best. With a separate model per task, only Own task has a value."""
    return [_result_row(record, method, {}) for method in record.references]


def published_rows(record: RunRecord) -> list[ResultRow]:
    """Published results of the same benchmark in the order of their table, empty if there are none to show."""
    published = record.published.methods if record.published else ()
    return [ResultRow(row.method, label(row.method), "", _cells(record, row.scores, {}, {})) for row in published]


def _result_row(record: RunRecord, method: str, best: Mapping[str, str]) -> ResultRow:
    """Below Last is its 95% interval in percent for its number of test images: `76.4–83.2`."""
    scores, below, images = record.scores[method], dict[str, str](), record.test_images
    if method in record.separate_models:
        scores = {column: scores[column] for column in SEPARATE_MODEL_COLUMNS}
    else:
        percents, counts = [float(scores["last"] or 0.0)], [images[record.tasks[-1]]]
        if record.seen is None:
            percents, counts = record.matrices[method].iloc[-1].tolist(), list(images.values())
        below["last"] = "–".join(map(number, accuracy_interval(percents, counts)))
    if method == ZERO_SHOT:
        return ResultRow(method, label(method), "reference", _cells(record, scores, {}, below))
    if record.probes and method not in record.separate_models:
        below["probes"] = signed(-record.metrics[method]["probes"]["loss"])
    return ResultRow(method, label(method), styles_of(record)[method], _cells(record, scores, best, below))


def _cells(
    record: RunRecord, scores: Mapping[str, float | None], best: Mapping[str, str], below: Mapping[str, str]
) -> tuple[ResultCell, ...]:
    texts = {column: number(scores.get(column)) for column in record.columns}
    return tuple(ResultCell(text, text == best.get(column), below.get(column, "")) for column, text in texts.items())
