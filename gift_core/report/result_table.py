"""The section with the result: the metrics of each method, its 95% interval, and published results beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gift_core.method.metrics import ZERO_SHOT
from gift_core.published.mtil import MODEL
from gift_core.report.accuracies import SEPARATE_MODEL_COLUMNS, accuracy_interval
from gift_core.report.facts import data_notes, differences
from gift_core.report.highlight import styles_of
from gift_core.report.labels import COLUMN_TITLES, LOWER_IS_BETTER, number, signed
from gift_core.report.published_results import DATA_SET_TOLERANCE
from gift_core.report.run_record import RunRecord, Section


def result(record: RunRecord) -> Iterator[Section]:
    """Yields the section with the result table.

    Its rows are the zero-shot model and the contenders in the order of params.yaml, the references, and the published
    results. The best value of a column is marked among the contenders alone; those that print the same are all marked.
    """
    best = {}
    for column in record.columns:
        values = [record.scores[method][column] for method in record.contenders]
        defined = [value for value in values if value is not None and not math.isnan(value)]
        if len(defined) > 1:
            best[column] = number(min(defined) if column in LOWER_IS_BETTER else max(defined))
    shown = {
        "notes": data_notes(record),
        "differences": differences(record),
        "titles": {column: COLUMN_TITLES[column] for column in record.columns},
        "rows": [result_row(record, method) for method in (ZERO_SHOT, *record.contenders)],
        "best": best,
        "reference_rows": [result_row(record, method) for method in record.references],
        "tolerance": DATA_SET_TOLERANCE,
        "model_of_published": MODEL,
    }
    yield Section("result", "Result", "result.html.j2", shown)


def result_row(record: RunRecord, method: str) -> dict[str, Any]:
    """The method, its CSS class as `style`, its `scores` in percent by column, and by column what is `below` them.

    Below Last that is the 95% interval in percent for the number of test images, `76.4–83.2`; below the accuracy on
    probes the difference to zero-shot. With a separate model for each task, only Own task has a value.
    """
    scores, below = record.scores[method], dict[str, str]()
    if method in record.separate_models:
        scores = {column: scores[column] for column in SEPARATE_MODEL_COLUMNS}
    else:
        percents, counts = [float(scores["last"] or 0.0)], [record.test_images[record.tasks[-1]]]
        if record.seen is None:
            percents, counts = record.matrices[method].iloc[-1].tolist(), list(record.test_images.values())
        below["last"] = "–".join(map(number, accuracy_interval(percents, counts)))
        if record.probes and method != ZERO_SHOT:
            below["probes"] = signed((scores["probes"] or 0.0) - (record.scores[ZERO_SHOT]["probes"] or 0.0))
    style = "reference" if method == ZERO_SHOT else styles_of(record)[method]
    return {"method": method, "style": style, "scores": scores, "below": below}
