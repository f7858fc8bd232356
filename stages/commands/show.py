"""show, metrics FILE...: what a run showed, in tables and in words, and the numbers of any tables of accuracies."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.protocols import PROTOCOLS
from gift_core.quantities import duration, first_names, plural

from ..command_line import AsJson, hint, note, print_json, print_table
from ..options import PARAMS, ROOT, Root, argument, flag, option

if TYPE_CHECKING:
    import pandas as pd


Summary = Mapping[str, Any]
COLUMNS = ("transfer", "avg", "last", "forgetting")
TITLE = "Accuracy in percent"
FORMAT = (
    "Print the table of a paper instead: Transfer, Avg and Last by task, with marks for the best, the second and noise."
)
PaperFormat = Annotated[
    Literal["latex", "markdown", "csv"] | None, option("latex|markdown|csv", FORMAT, "--format", default=...)
]
LONG_NAME = 20  # characters of a name that leave the other columns too little of 80, with lines around each cell


def show(
    root: Root = ROOT,
    as_json: AsJson = False,
    times: bool = flag("--times", "Print the run times of the stages on this machine."),
) -> None:
    """Print what the run showed: a table of the methods, the result in words, and where the report is.

    The table has Transfer, Avg, Last and Forgetting, what is kept of zero-shot (the
    accuracy on evaluation.probes at the end), and, unless class-incremental, the
    accuracy on the newest task before and after it was learned. For a published
    benchmark, the first line says whether the zero-shot accuracies agree. In git,
    the last lines have the commit, and the difference to the result in it.

    Example: gift show
    """
    from gift_core.artifacts.contract import read
    from gift_core.artifacts.report_json import STAGE, Summary, ZeroShot, read_metrics
    from gift_core.config.checks import require_task
    from gift_core.config.loading import load_config
    from gift_core.team.gate import changed_since, since_commit

    if times:
        _print_times(Layout(root).timings(), as_json=as_json)
        return
    reports = Layout(root).reports()
    remedy = "Get the summary with `dvc checkout` or `dvc pull`, or make both with `dvc repro report`."
    if not (reports / "summary.json").is_file():
        if (reports / "metrics.json").is_file():  # in a fresh clone: git has it
            remedy += f" `gift metrics {reports / 'metrics.json'}` prints the table alone."
            raise UserError(f"{reports}: there is metrics.json, but no summary.json. {remedy}")
        require_task(load_config(root / PARAMS), PARAMS.name)
    summary = read(Summary, reports / "summary.json", STAGE).model_dump(exclude_unset=True)
    if as_json:
        print_json(summary)
        return
    metrics = read_metrics(reports / "metrics.json")
    last = {method: row["last_percent"] for method, row in summary["methods"].items()}  # None: it has no mean
    if [*last] != [*metrics] or any(last[method] not in (None, metrics[method]["last"]) for method in last):
        raise UserError(f"{reports}: summary.json and metrics.json are of different runs. {remedy}")
    if sentence := read(ZeroShot, reports / "zero_shot.json", STAGE).sentence:  # empty: no published benchmark
        typer.echo(sentence)
    if (root / PARAMS).is_file():
        experiment, changed = load_config(root / PARAMS).experiment, changed_since(root)
        if experiment != summary["experiment"]:
            note(f"note: this is the result of {summary['experiment']}, params.yaml has {experiment}. Run: dvc repro")
        elif changed:
            names = first_names(changed)
            note(f"note: this result is older than params.yaml, which has changed in {names}. Run: dvc repro")
    _print_result(summary)
    for line in since_commit(root, metrics, summary["tasks"]):
        typer.echo(line)
    page = (reports / "index.html").resolve()
    print_text(f"The report: {page}", page.as_uri())
    _print_next(summary)


def _print_next(summary: Summary) -> None:
    """Prints what to do after a look at the result."""
    hint("\nNext:")
    if "MAKELEVEL" in os.environ and sys.prefix not in (sys.base_prefix, os.environ.get("VIRTUAL_ENV")):
        hint(f"  source {shlex.quote(sys.prefix)}/bin/activate   # once, to find gift and dvc")
    hint("  dvc repro && gift show   # after you change a number in params.yaml")
    if summary["miniature_model"]:
        hint("  gift use laptop   # for your own photos, without a GPU (with one: bring_your_own)")
    else:
        hint("  gift add-task NAME --images FOLDER   # add your own images, then: dvc repro")


def _print_result(summary: Summary) -> None:
    from gift_core.artifacts.report_json import SUMMARY_METRICS

    newest = summary["tasks"][-1]
    rows, learned = {}, {}
    for name, row in summary["methods"].items():
        method = f"{name}\n{row['label']}" if "label" in row else name  # the sentences below have the label
        rows[method] = {**{metric: row[key] for metric, key in SUMMARY_METRICS.items()}, "probes": row.get("probes")}
        on_it = row["by_task"][newest]
        if "before_percent" not in on_it:  # class-incremental: no number is of the newest task alone
            continue
        before, after = on_it["before_percent"], on_it["after_percent"]
        both = "-" if None in (before, after) else f"{percent(before)} -> {percent(after)}"
        learned[method] = percent(after) if name == "zero_shot" else both  # it never learns
    on = f" on the {summary['benchmark']}" if summary["benchmark"] else ""
    heading = newest if len(newest) < 15 else f"{newest[:11]}..."  # as wide as the line below it
    extra = (f"{heading}:\nbefore -> after", learned) if learned else None
    print_metrics(rows, title=f"{TITLE}{on}{PROTOCOLS[summary['protocol']].in_title}", extra=extra)
    for text in filter(None, [*summary["result"], summary["note"]]):
        print_text(text)


def _print_times(folder: Path, *, as_json: bool) -> None:
    """The total time of each stage. They are of the last run of each stage instance, and no artifact of the run."""
    from gift_core.artifacts.contract import read

    seconds = {
        stage.name: [read(dict[str, float], file, stage.name)["seconds"] for file in sorted(stage.glob("*.json"))]
        for stage in sorted(folder.glob("*"))
    }
    longest_first = sorted(seconds.items(), key=lambda item: -sum(item[1]))
    if as_json:
        rows = {
            stage: {"instances": len(of_stage), "seconds": round(sum(of_stage), 2)} for stage, of_stage in longest_first
        }
        print_json({"stages": rows})
        return
    for stage, of_stage in longest_first:
        typer.echo(f"{stage:16} {plural(len(of_stage), 'instance'):>14}  {duration(sum(of_stage)):>14}")
    if not seconds:
        typer.echo("No stage ran on this machine. The results came from the cache or from a remote.")


def metrics(
    files: list[Path] = argument("FILE", "CSV or Parquet files, or folders that contain them."),
    as_json: AsJson = False,
    per_task: bool = flag("--per-task", "Also print the metrics of each task (in JSON: by_task)."),
    output: PaperFormat = None,
) -> None:
    """Compute Transfer, Avg, Last and Forgetting from tables of accuracies.

    Columns: method, step, trained_task, eval_task, and top1 (0-1) or
    top1_percent (0-100). Steps count from 0 in the order of training; -1 is the
    pre-trained model, whose trained_task may be empty. A run that has not ended is
    scored as far as it goes. The optional column protocol is task_incremental (the
    default), cross_domain or class_incremental. In a class-incremental run, each step
    has one row for the classes of all tasks so far, and eval_task is the step's task.
    Rows whose optional column phase is "probe" are tests on tasks that no step
    learns, of each step and of step -1: what is kept of zero-shot.
    The optional column seed tells the runs of a method apart: then the means over the
    seeds are printed as the table of a paper (--format, default markdown).
    With --json the numbers have the format of metrics.json and are not rounded; of
    several seeds they have that of comparison.json.

    Example: gift metrics rows.csv --per-task
    """
    from gift_core.method.metrics import summarize
    from gift_core.report.accuracies import RunScores

    rows = _finished_rows(files)
    _note_orders(rows)
    seeds = map(int, rows["seed"].unique())
    runs = {seed: RunScores(summaries=summarize(rows[rows["seed"] == seed])) for seed in seeds}
    if output or len(runs) > 1:
        from gift_core.report.comparison.paper_table import table_of_scores

        table = table_of_scores(runs)
        if as_json:
            print_json(table.record())
        else:
            typer.echo(table.text(output or "markdown"), nl=False)
        return
    (scores,) = runs.values()
    by_method = scores.unrounded_metrics
    by_task = {method: summary.by_task for method, summary in scores.summaries.items()}
    if as_json:
        print_json({m: {**row, **({"by_task": by_task[m]} if per_task else {})} for m, row in by_method.items()})
        return
    steps = {method: str(len(summary.accuracies)) for method, summary in scores.summaries.items()}
    print_metrics(by_method, extra=("Steps", steps))
    if per_task:
        _print_tasks(by_task, by_method)


def _note_orders(rows: pd.DataFrame) -> None:
    """Says so where the methods learned other tasks, or in another order."""
    has_matrix = rows["protocol"].map(lambda name: PROTOCOLS[name].has_matrix)
    learned = rows[(rows["step"] >= 0) & has_matrix].sort_values("step", kind="stable")
    orders = {tuple(by_method["trained_task"].unique()) for _, by_method in learned.groupby(["seed", "method"])}
    if len(orders) > 1:
        note("note: not all methods learned the same tasks in the same order; do not compare them directly")


def _finished_rows(files: Sequence[Path]) -> pd.DataFrame:
    """The accuracies in the files, of every seed as far as its steps are complete; stderr says what it leaves out."""
    import pandas as pd

    from gift_core.artifacts.accuracy import finished_part, read_accuracy_rows

    parts = []
    for _, of_seed in read_accuracy_rows(files).groupby("seed"):
        part, left_out = finished_part(of_seed)
        parts.append(part)
        for text in left_out:  # with --quiet, too: the numbers mean something else without it
            typer.echo(f"note: {text}", err=True)
    return pd.concat(parts)


def _print_tasks(by_task: Mapping[str, Mapping[str, Any]], by_method: Mapping[str, Mapping[str, Any]]) -> None:
    for method, tasks in by_task.items():
        if tasks:
            print_metrics(tasks, title=method, of="task")
        else:
            typer.echo(f"{method}: class-incremental, so there are no rows by task")
        for name, last in by_method[method].get("probes", {}).get("by_task", {}).items():
            typer.echo(f"{method} on the probe {name}: {percent(last)}")


def print_metrics(
    rows: Mapping[str, Mapping[str, Any]],
    *,
    title: str = TITLE,
    of: str = "method",
    extra: tuple[str, Mapping[str, str]] | None = None,
) -> None:
    """Prints one row per name in `rows`, in percent with one decimal. `of` is the title of the first column.

    Omits metrics that no row has. Class-incremental methods have no Transfer and no Forgetting. "probes" of a row are
    those of metrics.json. `extra` is one more column: its title, and its texts by name.
    """
    from rich.box import SIMPLE_HEAD

    columns = {
        column.capitalize(): {name: percent(row[column]) for name, row in rows.items()}
        for column in COLUMNS
        if any(row[column] is not None for row in rows.values())
    }
    if "Forgetting" in columns and of == "method":
        title += " (Forgetting: lower is better)"
    whole = list[str]()
    if any(row.get("probes") for row in rows.values()):
        kept = {name: row.get("probes") for name, row in rows.items()}
        columns["Zero-shot\nkept"] = {  # `57.0 (-12.7)`: at the end, and the difference to the pre-trained model
            name: f"{percent(probes['mean'])} ({_points(probes['change'])})" if probes else "-"
            for name, probes in kept.items()
        }
        whole.append("Zero-shot\nkept")
    longest = max(map(len, "\n".join(rows).splitlines()), default=0)  # a name can have a label below it
    is_wide = bool(whole) or longest > LONG_NAME
    look: dict[str, Any] = {"box": SIMPLE_HEAD, "show_edge": False, "padding": 0} if is_wide else {}
    if extra is not None:
        columns[extra[0]] = dict(extra[1])
        whole.append(extra[0])
    cells = [(name, *(texts[name] for texts in columns.values())) for name in rows]
    print_table((of, *columns), cells, title=title, left=1, whole=whole, **look)


def percent(value: float | None) -> str:
    """Returns a percentage with one decimal, - for None: one task has no Transfer and no Forgetting."""
    from gift_core.artifacts.report_json import one_decimal

    return "-" if value is None else one_decimal(value)


def print_text(text: str, link: str = "") -> None:
    """Prints a paragraph, wrapped at the width of the terminal. With `link` it is one line, which opens it."""
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    Console().print(Text(text, style=Style(link=link or None)), soft_wrap=bool(link))


def _points(value: float) -> str:
    shown = percent(value)
    return f"+{shown}" if value > 0 and shown != "0.0" else shown
