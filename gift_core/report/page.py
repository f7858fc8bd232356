"""The page: the record's figures put into the templates, one self-contained HTML text."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from gift_core.report.curves import columns_for, mean_chart, task_charts
from gift_core.report.emphasis import QUIET, is_crowded, quiet_last, styles_of
from gift_core.report.fisher import fisher_tables
from gift_core.report.losses import loss_charts
from gift_core.report.matrices import ROOMY_TASKS, matrix_of
from gift_core.report.record import RunRecord
from gift_core.report.table import reference_rows, result_rows
from gift_core.report.words import duration, headline, label, number, plural


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
            rows=result_rows(record),
            reference_rows=reference_rows(record),
            styles=styles,
            crowded=is_crowded(record),
            main=[method for method, style in styles.items() if style != QUIET],
            mean_chart=mean_chart(record) if record.methods else None,
            task_charts=task_charts(record) if record.methods else [],
            columns=columns_for(len(record.tasks)),
            matrices=[matrix_of(record, method) for method in quiet_last(record, record.methods)],
            roomy=len(record.tasks) <= ROOMY_TASKS,
            fisher_tables=fisher_tables(record),
            loss_charts=loss_charts(record) if record.methods else [],
        )
    )
