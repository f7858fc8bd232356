"""show: the result in the terminal, the location of the report and what to do next, or the run times."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gift_core.layout import Layout
from gift_core.quantities import duration, plural

from ..command_line import AsJson, hint, print_json
from ..stage import PARAMS, ROOT, Root, flag
from .metrics import percent, print_by_task, print_metrics, print_text

Summary = Mapping[str, Any]


def show(
    root: Root = ROOT,
    per_task: Annotated[bool, flag("--per-task", "Print the accuracies on every task.")] = False,
    as_json: AsJson = False,
    times: Annotated[bool, flag("--times", "Print the run times of the stages on this machine.")] = False,
) -> None:
    """Print what the run showed: a table of the methods, the result in words, and where the report is.

    The table has Transfer, Avg, Last and Forgetting, what is kept of zero-shot (the
    accuracy on evaluation.probes at the end), and the accuracy on the newest task
    before and after it was learned. For a published benchmark, the first line
    says whether the zero-shot accuracies agree. In git, the last lines have the
    commit, and the difference to the result in it.

    Example: gift show --per-task
    """
    from gift_core.artifacts.report_json import read_metrics, read_summary, read_zero_shot
    from gift_core.config.checks import require_task
    from gift_core.config.loading import load_config
    from gift_core.team.gate import since_commit

    if times:
        _print_times(Layout(root).timings(), as_json=as_json)
        return
    reports = Layout(root).reports()
    if not (reports / "summary.json").is_file() and not (reports / "metrics.json").is_file():
        require_task(load_config(root / PARAMS), PARAMS.name)
    if as_json:
        print_json(read_summary(reports / "summary.json"))
        return
    if per_task:
        _print_tasks(read_summary(reports / "summary.json"))
        return
    metrics = read_metrics(reports / "metrics.json")
    zero_shot = reports / "zero_shot.json"
    if zero_shot.is_file() and (sentence := read_zero_shot(zero_shot).sentence):  # empty: no published benchmark
        typer.echo(sentence)
    summary = _summary_of(reports / "summary.json", metrics)
    if summary is None:
        print_metrics(metrics)
    else:
        if (root / PARAMS).is_file() and (experiment := load_config(root / PARAMS).experiment) != summary["experiment"]:
            what = f"this is the result of {summary['experiment']}. {root / PARAMS} has {experiment}"
            typer.echo(f"note: {what}: run dvc repro", err=True)
        _print_result(summary)
        for line in since_commit(root, metrics, summary["tasks"]):
            typer.echo(line)
    page = reports / "index.html"
    if page.is_file():
        print_text(f"The report: {page.resolve()}", page.resolve().as_uri())
    else:
        typer.echo(f"{page} does not exist. Get it with `dvc pull` or make it with `dvc repro report`.")
    if summary is not None:
        _print_next(summary)


def _summary_of(path: Path, metrics: Mapping[str, Mapping[str, float | None]]) -> Summary | None:
    """The summary, None if it is missing or of another run than metrics.json, which git may have changed since."""
    from gift_core.artifacts.report_json import SUMMARY_METRICS, read_summary

    found = f"{path} does not exist"
    if path.is_file():
        summary = read_summary(path)
        last = {method: row[SUMMARY_METRICS["last"]] for method, row in summary["methods"].items()}
        if list(last) == list(metrics) and all(last[method] in (None, metrics[method]["last"]) for method in last):
            return summary
        found = f"{path} and metrics.json are of different runs"
    remedy = "Get it with `dvc pull`, or make it with `dvc repro report`."
    typer.echo(f"note: {found}, so this is the table alone. {remedy}", err=True)
    return None


def _print_result(summary: Summary) -> None:
    from gift_core.artifacts.report_json import SUMMARY_METRICS

    rows = {
        method: {**{name: row[key] for name, key in SUMMARY_METRICS.items()}, "probes": row.get("probes")}
        for method, row in summary["methods"].items()
    }
    newest = summary["tasks"][-1]
    learned = {}
    for method, row in summary["methods"].items():
        on_it = row["by_task"][newest]
        before, after = on_it.get("before_percent", on_it.get("zero_shot_percent")), on_it["after_percent"]
        both = "-" if None in (before, after) else f"{percent(before)} -> {percent(after)}"
        learned[method] = percent(after) if before == after else both  # a model that never learns has one number
    on = f" on the {summary['benchmark']}" if summary["benchmark"] else ""
    on += ", each image among the classes of all tasks" if summary["protocol"] == "cross_domain" else ""
    lower = " (Forgetting: lower is better)" if any(row["forgetting"] is not None for row in rows.values()) else ""
    name = newest if len(newest) < 15 else f"{newest[:11]}..."  # as wide as the line below it
    print_metrics(rows, title=f"Accuracy in percent{on}{lower}", extra=(f"{name}:\nbefore -> after", learned))
    for sentence in summary["result"]:
        print_text(sentence)
    if summary["note"]:
        print_text(summary["note"])


def _print_tasks(summary: Summary) -> None:
    from gift_core.artifacts.report_json import BY_TASK

    protocol, by_classes = summary["protocol"], summary["protocol"] == "class_incremental"
    zero_shot = summary["methods"]["zero_shot"].get("probes", {}).get("by_task", {})
    steps = plural(len(summary["tasks"]), "step" if by_classes else "task")
    before, after = ("zero_shot_percent", "after_percent") if by_classes else ("before_percent", "end_percent")
    for method, row in summary["methods"].items():
        rows, end = {**row["by_task"]}, row.get("probes", {}).get("by_task", {})
        for name, value in end.items():  # the other columns stay empty
            known = {before: zero_shot[name], after: value, "difference_points": value - zero_shot[name]}
            rows[f"{name} (probe)"] = dict.fromkeys(BY_TASK[protocol]) | known
        print_by_task(rows, BY_TASK[protocol], title=f"{method}: accuracy in percent, {steps}")
    print_text(
        "On all classes seen so far. Difference: after - zero-shot."
        if by_classes
        else "Before: the model from which the step starts. After: right after the step. Difference: end - after."
    )
    if zero_shot:
        print_text("A probe is a task that no step learns. Difference: the last step's model - zero-shot.")


def _print_times(folder: Path, *, as_json: bool) -> None:
    """The total time of each stage. They are of the last run of each stage instance, and no artifact of the run."""
    from gift_core.artifacts.contract import read

    seconds = {
        stage.name: [read(dict[str, float], file, stage.name)["seconds"] for file in sorted(stage.glob("*.json"))]
        for stage in sorted(folder.glob("*"))
    }
    longest_first = sorted(seconds.items(), key=lambda item: -sum(item[1]))
    if as_json:
        rows = {stage: {"instances": len(each), "seconds": round(sum(each), 2)} for stage, each in longest_first}
        print_json({"stages": rows})
        return
    for stage, of_stage in longest_first:
        typer.echo(f"{stage:16} {plural(len(of_stage), 'instance'):>14}  {duration(sum(of_stage)):>14}")
    if not seconds:
        typer.echo("No stage ran on this machine. The results came from the cache or from a remote.")


def _print_next(summary: Summary) -> None:
    """What to type next, with the reason of each command."""
    hint("\nNext:")
    if "MAKELEVEL" in os.environ and sys.prefix not in (sys.base_prefix, os.environ.get("VIRTUAL_ENV")):
        hint(f"  source {shlex.quote(sys.prefix)}/bin/activate   # once, to find gift and dvc")
    hint("  dvc repro && gift show   # after you change a number in params.yaml")
    if summary["miniature_model"]:
        hint("  gift use laptop   # for your own photos, without a GPU (with one: bring_your_own)")
    else:
        hint("  gift add-task NAME --images FOLDER   # add your own images, then: dvc repro")
