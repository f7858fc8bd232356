"""The page: the record's figures put into the templates, one self-contained HTML text."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from gift_core.report.curves import columns_for, mean_chart, task_charts
from gift_core.report.drawing import style_of
from gift_core.report.losses import loss_charts
from gift_core.report.matrices import ROOMY_TASKS, matrix_of
from gift_core.report.record import RunRecord
from gift_core.report.table import result_rows
from gift_core.report.words import duration, headline, label, plural


def render_page(record: RunRecord) -> str:
    """The whole report as HTML: no reference to anything outside the text, the same text for the same record."""
    environment = Environment(
        loader=PackageLoader("gift_core.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plural": plural, "duration": duration, "label": label}
    tasks = task_charts(record)
    return environment.get_template("page.html.j2").render(
        record=record,
        headline=headline(record),
        rows=result_rows(record),
        legend=[(method, style_of(position)) for position, method in enumerate(record.methods)],
        mean_chart=mean_chart(record),
        task_charts=tasks,
        columns=columns_for(len(tasks)),
        matrices=[matrix_of(record, method) for method in record.methods],
        roomy=len(record.tasks) <= ROOMY_TASKS,
        loss_charts=loss_charts(record),
    )
