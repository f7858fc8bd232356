"""The report page: renders a RunRecord and its pictures to one self-contained HTML file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from gift_core.artifacts.report_json import rounded
from gift_core.layout import Layout
from gift_core.metrics import ZERO_SHOT
from gift_core.published.mtil import MODEL
from gift_core.quantities import plural
from gift_core.report.accuracies import widest_margin
from gift_core.report.accuracy_tables import (
    FEW_TASKS,
    accuracy_matrices,
    probe_table,
    published_matrices,
    published_rows,
    reference_rows,
    result_rows,
    step_table,
)
from gift_core.report.curves import (
    loss_charts,
    mean_chart,
    panel_columns,
    probe_chart,
    probe_charts,
    seen_chart,
    task_charts,
)
from gift_core.report.fisher_heatmap import fisher_heatmaps
from gift_core.report.highlight import QUIET, best_method, headline, is_crowded, reading_order, styles_of
from gift_core.report.kept_images import PredictionPictures, read_prediction_pictures
from gift_core.report.labels import COLUMN_TITLES, count_test_images, label, number, rejections, task_list
from gift_core.report.published_results import DATA_SET_TOLERANCE, data_set_rows
from gift_core.report.retrieved_images import RetrievalTask, read_retrieval
from gift_core.report.run_record import KL, RunRecord
from gift_core.report.task_images import TaskPictures, read_task_pictures

MAX_OPEN_ROWS = 12  # with more steps, their table is folded
MAX_OPEN_CHARTS = 4  # with more probes, their charts are folded


def environment() -> Environment:
    """The Jinja environment of all pages. Text is escaped; an undefined name is an error."""
    templates = Environment(
        loader=PackageLoader("gift_core.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"plural": plural, "label": label, "number": number}
    templates.filters |= {"task_list": task_list, "rejections": rejections, "code_spans": code_spans}
    templates.filters |= {"test_set": describe_test_set, "test_images": count_test_images}
    return templates


def code_spans(text: str) -> Markup:
    """The text as HTML: escaped, with `what is between backticks` as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@dataclass(frozen=True)
class Pictures:
    """What the sections with pictures show."""

    tasks: TaskPictures
    predictions: PredictionPictures
    retrieval: tuple[RetrievalTask, ...]


def read_pictures(layout: Layout, record: RunRecord) -> Pictures:
    """The pictures of a run. What is not on this machine is named in the result.

    ContractError if tars, prompts or predictions are damaged or belong to another run.
    """
    return Pictures(
        tasks=read_task_pictures(layout, record.tasks, replays_pairs=bool(record.sheets)),
        predictions=read_prediction_pictures(layout, record),
        retrieval=read_retrieval(layout, record) if record.pair_tasks else (),
    )


def describe_test_set(images: int, existing: int) -> str:
    """`25 test images, ±18.6`: the size of a test set, and the widest 95% interval of an accuracy on it."""
    return f"{count_test_images(images, existing)}, ±{number(widest_margin(images))}"


def render_page(record: RunRecord, pictures: Pictures | None = None) -> str:
    """The report as HTML. It loads nothing from outside; the same record and pictures give the same text.

    Without pictures, the sections that need more than the record are left out.
    """
    styles, best = (styles_of(record), best_method(record)) if record.methods else ({}, ZERO_SHOT)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            record=record,
            pictures=pictures,
            headline=headline(record),
            titles=[COLUMN_TITLES[column] for column in record.columns],
            rows=result_rows(record),
            reference_rows=reference_rows(record),
            published_rows=published_rows(record),
            check_rows=data_set_rows(record.published.zero_shot) if record.published else [],
            tolerance=f"{DATA_SET_TOLERANCE:g}",
            styles=styles,
            crowded=is_crowded(record),
            main=[method for method, style in styles.items() if style != QUIET],
            model_of_published=MODEL,
            **(_task_incremental(record) if record.seen is None else _class_incremental(record, record.seen)),
            max_open_rows=MAX_OPEN_ROWS,
            **(_probes(record) if record.probes and record.methods else {"probes": None}),
            test_images=record.test_images,
            in_metrics=f'"last": {rounded(record.metrics[best]["last"])}',
            existing_test_images=record.existing_test_images,
            few_tasks=len(record.tasks) <= FEW_TASKS,
            fisher_heatmaps=fisher_heatmaps(record.fisher, record.tasks),
            loss_charts=loss_charts(record) if record.methods else [],
            has_kl=any(name.endswith(KL) for name in record.losses["loss"].unique()),
        )
    )


def _task_incremental(record: RunRecord) -> dict[str, Any]:
    return {
        "mean_chart": mean_chart(record) if record.methods else None,
        "task_charts": task_charts(record) if record.methods else [],
        "columns": panel_columns(len(record.tasks)),
        "matrices": accuracy_matrices(record, reading_order(record, record.methods)),
        "published_matrices": published_matrices(record),
    }


def _class_incremental(record: RunRecord, seen: pd.DataFrame) -> dict[str, Any]:
    return {"seen_chart": seen_chart(record, seen), "steps": step_table(record, seen), "published_matrices": []}


def _probes(record: RunRecord) -> dict[str, Any]:
    charts = probe_charts(record)
    return {
        "probes": probe_table(record),
        "probe_chart": probe_chart(record),
        "probe_charts": charts if len(charts) > 1 else [],
        "probe_columns": panel_columns(len(charts)),
        "max_open_charts": MAX_OPEN_CHARTS,
    }
