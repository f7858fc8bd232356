"""The report page: renders the sections of a RunRecord to one self-contained HTML file."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from gift_core.quantities import plural
from gift_core.report.accuracies import widest_margin
from gift_core.report.accuracy_tables import FEW_TASKS, result
from gift_core.report.charts import accuracies
from gift_core.report.facts import what_ran
from gift_core.report.fisher_heatmap import fisher_heatmaps
from gift_core.report.highlight import QUIET, headline, is_crowded, styles_of
from gift_core.report.labels import count_test_images, label, number, rejections, signed, task_list
from gift_core.report.loss_curves import losses
from gift_core.report.pictures import synthetic_pairs, task_images
from gift_core.report.predicted_images import prediction_pictures, retrieval
from gift_core.report.run_record import RunRecord, Sections

SECTIONS: tuple[Sections, ...] = (  # in the order of the page
    result,
    task_images,
    accuracies,
    retrieval,
    prediction_pictures,
    fisher_heatmaps,
    synthetic_pairs,
    losses,
    what_ran,
)


def environment() -> Environment:
    """The Jinja environment of all pages. Text is escaped; an undefined name is an error."""
    templates = Environment(
        loader=PackageLoader("gift_core.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"plural": plural, "label": label, "number": number, "signed": signed}
    templates.filters |= {"task_list": task_list, "rejections": rejections, "code_spans": code_spans}
    templates.filters |= {"test_set": describe_test_set, "test_images": count_test_images}
    return templates


def code_spans(text: str) -> Markup:
    """The text as HTML: escaped, with `what is between backticks` as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def describe_test_set(images: int, existing: int) -> str:
    """`25 test images, ±18.6`: the size of a test set, and the widest 95% interval of an accuracy on it."""
    return f"{count_test_images(images, existing)}, ±{number(widest_margin(images))}"


def render_page(record: RunRecord) -> str:
    """The report as HTML. It loads nothing from outside; the same artifacts give the same text.

    What is not on this machine is named in its section. ContractError for what is damaged or of another run.
    """
    templates = environment()
    styles = styles_of(record)
    common = {
        "record": record,
        "styles": styles,
        "crowded": is_crowded(record),
        "main": [method for method, style in styles.items() if style != QUIET],
        "few_tasks": len(record.tasks) <= FEW_TASKS,
    }
    sections = [section for of_module in SECTIONS for section in of_module(record)]
    html = [Markup(templates.get_template(each.template).render(**common, **each.shown)) for each in sections]
    return templates.get_template("page.html.j2").render(
        **common, headline=headline(record), sections=[*zip(sections, html, strict=True)]
    )
