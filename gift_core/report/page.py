"""Builds reports/: metrics.json, zero_shot.json, summary.json, the CSV files behind `dvc plots`, and index.html.

The page renders the sections of a RunRecord to one self-contained HTML file.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from gift_core.artifacts.accuracy import PROBE
from gift_core.artifacts.contract import write_json
from gift_core.artifacts.report_json import ZeroShot, rounded
from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.method.metrics import accuracy_interval
from gift_core.quantities import plural
from gift_core.report import labels
from gift_core.report.charts import accuracies
from gift_core.report.facts import differences, result, what_ran
from gift_core.report.highlight import headline, introduction, run_summary
from gift_core.report.loss_curves import loss_rows, losses
from gift_core.report.pictures import synthetic_pairs, task_images
from gift_core.report.predicted_images import prediction_pictures, retrieval
from gift_core.report.run_record import QUIET, Experiment, RunRecord, Sections, read_run
from gift_core.report.scatter import learned_and_kept
from gift_core.report.sweeps import sweeps
from gift_core.work.publishing import build_folder, write_atomically

FEW_TASKS = 7  # with more tasks, the cells of matrices show whole percents
ACCURACY_COLUMNS = ["method", "after", "after_step", "task", "task_step", "phase", "accuracy"]
SECTIONS: tuple[Sections, ...] = (  # in the order of the page
    result,
    task_images,
    accuracies,
    learned_and_kept,
    retrieval,
    prediction_pictures,
    synthetic_pairs,
    sweeps,
    losses,
    what_ran,
)


def build_report(layout: Layout, config: Config, folder: Path) -> list[str]:
    """Writes metrics.json, zero_shot.json, summary.json, the two CSV files in plots and index.html to `folder`.

    Returns what a reader should know first: the sentence of zero_shot.json if the run is a published benchmark, and a
    note if its results were computed in different environments. Reads, for the methods of run.methods and the tasks of
    the sequence, the accuracy files, losses and provenance, each task.json, the synthetic pairs if a method replays
    them, and the header of the pre-trained weights. The same inputs give the same bytes on every machine. All files are
    made before the first one replaces an old one. ContractError if an artifact is missing, incomplete or of another
    sequence.
    """
    record = read_run(layout, config)
    html, check = render_page(record), record.published.zero_shot if record.published else ZeroShot()
    with (
        write_atomically(folder / "index.html") as page,
        write_atomically(folder / "zero_shot.json") as zero_shot,
        write_atomically(folder / "summary.json") as summary,
        write_atomically(folder / "metrics.json") as metrics,
        build_folder(folder / "plots") as plots,
    ):
        write_json(metrics, record.metrics)
        write_json(zero_shot, rounded(check.model_dump()))
        write_json(summary, run_summary(record))
        for name, rows in (("accuracy.csv", accuracy_rows(record)), ("losses.csv", loss_rows(record))):
            rows.to_csv(plots / name, index=False, lineterminator="\n")
        page.write_bytes(html.encode())
    differing = "; ".join(f"{name}: {text}" for name, text in differences(record).items())
    note = f"note: results of different environments: {differing}" if differing else ""
    return [text for text in (check.sentence, note) if text]


def accuracy_rows(record: RunRecord) -> pd.DataFrame:
    """method, after (task or "zero-shot"), after_step (from 0), task, task_step, phase, accuracy in percent.

    Probes come after the tasks. In a class-incremental run the only task beside them is "classes seen", and the
    zero-shot model is a method of its own there.
    """
    accuracy = record.accuracy if record.seen is None else record.accuracy[record.accuracy["phase"] == PROBE]
    order = {task: position for position, task in enumerate((*record.tasks, *record.probe_images))}
    rows = accuracy.assign(
        after=["zero-shot" if step < 0 else record.tasks[step] for step in accuracy["step"]],
        after_step=accuracy["step"] + 1,
        task=accuracy["eval_task"],
        task_step=[order[task] for task in accuracy["eval_task"]],
        accuracy=(accuracy["top1"] * 100.0).round(3),
        order=pd.factorize(accuracy["method"])[0],
    ).sort_values(["order", "after_step", "task_step"])[ACCURACY_COLUMNS]
    if record.seen is None:
        return rows
    seen = [
        (method, task, step, "classes seen", 0, "current", round(float(percent), 3))
        for method in record.seen.columns
        for step, (task, percent) in enumerate(record.seen[method].items(), 1)
    ]
    return pd.concat([pd.DataFrame(seen, columns=ACCURACY_COLUMNS), rows], ignore_index=True)


def environment(experiment: Experiment) -> Environment:
    """The Jinja environment of a page. Text is escaped; an undefined name is an error.

    The filter `label` gives the experiment's name of a method, `known_name` that of a published one.
    """
    templates = Environment(
        loader=PackageLoader("gift_core.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    of_labels = ("known_name", "number", "probability", "rejections", "shade_of_points", "signed", "task_list")
    templates.filters |= {name: getattr(labels, name) for name in of_labels}
    templates.filters |= {"label": experiment.label, "plural": plural, "code_spans": code_spans}
    templates.filters |= {"test_set": describe_test_set, "test_images": labels.count_test_images}
    return templates


def code_spans(text: str) -> Markup:
    """The text as HTML: escaped, with `what is between backticks` as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def describe_test_set(images: int, existing: int) -> str:
    """`25 test images, ±18.6`: the size of a test set, and the widest 95% interval of an accuracy on it."""
    low, high = accuracy_interval([50.0], [images])
    return f"{labels.count_test_images(images, existing)}, ±{labels.number((high - low) / 2)}"


def render_page(record: RunRecord) -> str:
    """The report as HTML. It loads nothing from outside; the same artifacts give the same text.

    What is not on this machine is named in its section. ContractError for what is damaged or of another run.
    """
    templates = environment(record)
    common = {
        "record": record,
        "styles": record.styles,
        "crowded": QUIET in record.styles.values(),
        "main": [method for method, style in record.styles.items() if style != QUIET],
        "few_tasks": len(record.tasks) <= FEW_TASKS,
    }
    sections = [
        (section, Markup(templates.get_template(section.template).render(**common, **section.shown)))
        for of_module in SECTIONS
        for section in of_module(record)
    ]
    heading = {"headline": headline(record), "introduction": introduction(record)}
    return templates.get_template("page.html.j2").render(**common, **heading, sections=sections)
