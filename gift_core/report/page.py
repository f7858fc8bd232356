"""The page: the record's figures put into the templates, one self-contained HTML text."""

from __future__ import annotations

from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from gift_core.published.mtil import MODEL
from gift_core.report.curves import columns_for, mean_chart, task_charts
from gift_core.report.emphasis import QUIET, is_crowded, quiet_last, styles_of
from gift_core.report.fisher import fisher_tables
from gift_core.report.losses import loss_charts
from gift_core.report.matrices import ROOMY_TASKS, matrices_of, published_matrices
from gift_core.report.record import RunRecord
from gift_core.report.seen import seen_chart, step_table
from gift_core.report.table import TITLES, published_rows, reference_rows, result_rows
from gift_core.report.words import duration, headline, label, named, number, plural, rejections
from gift_core.report.zero_shot_check import DATA_SET_TOLERANCE, rows_of


def environment() -> Environment:
    """The templates of all our pages, their texts escaped, a name that is not given an error."""
    templates = Environment(
        loader=PackageLoader("gift_core.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"plural": plural, "duration": duration, "label": label, "number": number}
    templates.filters |= {"named": named, "rejections": rejections}
    return templates


def render_page(record: RunRecord) -> str:
    """The whole report as HTML: no reference to anything outside the text, the same text for the same record."""
    styles = styles_of(record) if record.methods else {}
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            record=record,
            headline=headline(record),
            titles=[TITLES[column] for column in record.columns],
            rows=result_rows(record),
            reference_rows=reference_rows(record),
            published_rows=published_rows(record),
            check_rows=rows_of(record.published.zero_shot) if record.published else [],
            tolerance=f"{DATA_SET_TOLERANCE:g}",
            styles=styles,
            crowded=is_crowded(record),
            main=[method for method, style in styles.items() if style != QUIET],
            model_of_published=MODEL,
            **(_matrix_parts(record) if record.seen is None else _seen_parts(record, record.seen)),
            roomy=len(record.tasks) <= ROOMY_TASKS,
            fisher_tables=fisher_tables(record),
            loss_charts=loss_charts(record) if record.methods else [],
        )
    )


def _matrix_parts(record: RunRecord) -> dict[str, Any]:
    """The course of a task-incremental run: a chart a task, a matrix a method."""
    return {
        "mean_chart": mean_chart(record) if record.methods else None,
        "task_charts": task_charts(record) if record.methods else [],
        "columns": columns_for(len(record.tasks)),
        "matrices": matrices_of(record, quiet_last(record, record.methods)),
        "published_matrices": published_matrices(record),
    }


def _seen_parts(record: RunRecord, seen: pd.DataFrame) -> dict[str, Any]:
    """The course of a class-incremental run: one chart, one table of its steps."""
    return {"seen_chart": seen_chart(record, seen), "steps": step_table(record, seen), "published_matrices": []}
