"""metrics FILE..., compare ROOT...: the numbers of any tables of accuracies, and of runs with several seeds.

The terminal tables are those of `gift show`, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import AsJson, hint, note, print_json, require_new
from .stage import PARAMS, Params

if TYPE_CHECKING:
    from gift_core.report.comparison.seed_statistics import Comparison

Metrics = Mapping[str, float | None]
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="CSV or Parquet files, or folders that contain them.")
]
PerTask = Annotated[bool, typer.Option("--per-task", help="Also print the metrics of each task (in JSON: by_task).")]
COLUMNS = ("transfer", "avg", "last", "forgetting")
TITLE = "Accuracy in percent"
MADE = ("comparison.csv", "comparison.json", "index.html")


def metrics(files: Files, as_json: AsJson = False, per_task: PerTask = False) -> None:
    """Compute Transfer, Avg, Last and Forgetting from tables of accuracies.

    Columns: method, step, trained_task, eval_task, and top1 (0-1) or
    top1_percent (0-100). Steps count from 0 in the order of training; -1 is the
    pre-trained model, whose trained_task may be empty. A run that has not ended is
    scored as far as it goes. The optional column protocol is task_incremental (the
    default), cross_domain or class_incremental. In a class-incremental run, each step
    has one row for the classes of all tasks so far, and eval_task is the step's task.
    With --json the numbers have the format of metrics.json and are not rounded.

    Example: gift metrics rows.csv --per-task
    """
    from gift_core.artifacts.accuracy import read_accuracy_rows
    from gift_core.metrics import summarize
    from gift_core.partial_runs import finished_part

    rows, left_out = finished_part(read_accuracy_rows(files))
    for text in left_out:  # with --quiet, too: the numbers mean something else without it
        typer.echo(f"note: {text}", err=True)
    summaries = summarize(rows)
    by_method = {method: summary.metrics for method, summary in summaries.items()}
    by_task = {method: summary.by_task for method, summary in summaries.items()}
    _note_different_tasks(by_task)
    shown = by_task if per_task else {}
    if as_json:
        _print_json(by_method, shown)
        return
    steps = {method: str(len(summary.accuracies)) for method, summary in summaries.items()}
    print_metrics(by_method, extra=("Steps", steps))
    for method, tasks in shown.items():
        _print_methods_by_task(method, tasks)


def _note_different_tasks(by_task: Mapping[str, Mapping[str, Metrics]]) -> None:
    if len({tuple(tasks) for tasks in by_task.values() if tasks}) > 1:
        note("note: not all methods learned the same tasks in the same order; do not compare them directly")


def _print_json(by_method: Mapping[str, Metrics], by_task: Mapping[str, Mapping[str, Metrics]]) -> None:
    extra = {method: {"by_task": tasks} for method, tasks in by_task.items()}
    combined = {method: {**row, **extra.get(method, {})} for method, row in by_method.items()}
    print_json(combined)


def _print_methods_by_task(method: str, tasks: Mapping[str, Metrics]) -> None:
    if tasks:
        print_metrics(tasks, title=method, of="task")
    else:
        typer.echo(f"{method}: class-incremental, so there are no rows by task")


def print_metrics(
    rows: Mapping[str, Mapping[str, float | None]],
    *,
    title: str = "",
    of: str = "method",
    extra: tuple[str, Mapping[str, str]] | None = None,
) -> None:
    """Prints one row per name in `rows`, in percent with one decimal. `of` is the title of the first column.

    Omits metrics that no row has. Class-incremental methods have no Transfer and no Forgetting. `extra` is one more
    column: its title, and its texts by name.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [column for column in COLUMNS if any(row[column] is not None for row in rows.values())]
    table = Table()
    table.add_column(of)
    for column in shown:
        table.add_column(column.capitalize(), justify="right")
    if extra is not None:
        table.add_column(Text(extra[0]), justify="right", no_wrap=True)
    for name, row in rows.items():
        more = () if extra is None else (extra[1][name],)
        table.add_row(Text(name), *(percent(row[column]) for column in shown), *more)  # Text: [gift] is not markup
    lower = " (Forgetting: lower is better)" if "forgetting" in shown else ""
    Console().print(Text(title or f"{TITLE}{lower}"), table, sep="\n")


def percent(value: float | None) -> str:
    """Returns a percentage with one decimal, - for None: one task has no Transfer and no Forgetting."""
    from gift_core.artifacts.report_json import one_decimal

    return "-" if value is None else one_decimal(value)


def print_by_task(rows: Mapping[str, Mapping[str, float | None]], columns: Sequence[str], *, title: str) -> None:
    """Prints one row per task. The title of a column is its key without the unit; differences have a sign."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("task", overflow="fold")
    for column in columns:
        name = column.removesuffix("_percent").removesuffix("_points").replace("_", " ")
        table.add_column(name.capitalize(), justify="right")
    for task, row in rows.items():
        table.add_row(Text(task), *(_with_unit(column, row[column]) for column in columns))
    Console().print(Text(title), table, sep="\n")


def print_text(text: str) -> None:
    """Prints a paragraph, wrapped at the width of the terminal."""
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(text))


def print_link(text: str, uri: str) -> None:
    """Prints `text` on one line. A terminal that knows links opens `uri` when the text is clicked."""
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    Console().print(Text(text, style=Style(link=uri)), soft_wrap=True)


def _with_unit(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if column.endswith("_points"):
        return f"+{percent(value)}" if value > 0 and percent(value) != "0.0" else percent(value)
    return percent(value) if column.endswith("_percent") else f"{value:,.0f}"


Roots = Annotated[
    list[Path] | None,
    typer.Argument(help="Root folders of finished runs, which contain params.yaml and data/.", metavar="ROOT"),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="N",
        help="First run the experiment with N seeds, from that of params.yaml on. 4,5,6: with these.",
    ),
]
Methods = Annotated[
    str | None,
    typer.Option("--methods", metavar="NAMES", help="Only these: finetune,gift (default: all of run.methods)."),
]
Out = Annotated[
    Path,
    typer.Option("--out", metavar="FOLDER", help="The folder to write: index.html, comparison.csv, comparison.json."),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against", metavar="METHOD", help="The method to compare with (default: the one with the highest Last)."
    ),
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Also compare methods without results for some seeds.")
]


def compare(
    roots: Roots = None,
    seeds: Seeds = None,
    methods: Methods = None,
    out: Out = Path("reports/comparison"),
    against: Against = None,
    allow_missing: AllowMissing = False,
    as_json: AsJson = False,
    params: Params = PARAMS,
) -> None:
    """Compare runs of an experiment with different seeds: means, deviations, and differences that exceed the noise.

    Name the folders of finished runs, or have them made with --seeds: each has
    another seed and generator.seed, and its own folder in .gift/seeds. Stages that
    do not depend on the seed run once. An interrupted comparison continues.

    Example: gift compare --seeds 3 --methods finetune,gift --against gift
    """
    from gift_core.report.comparison.compare import RECORD, compare_runs
    from gift_core.untrusted import read_json_file

    from .seed_runs import run_seeds

    if (seeds is None) == (not roots):
        raise typer.BadParameter("Name either the folders of finished runs, or --seeds 3, which makes them.")
    require_new(out, made=MADE)
    names = methods.split(",") if methods else None
    if seeds is not None:
        roots = run_seeds(seeds, params, methods=names, against=against)
    comparison = compare_runs(roots or [], out, against=against, methods=names, allow_missing=allow_missing)
    if as_json:
        print_json(read_json_file(out / RECORD))
        return
    _print_comparison(comparison)
    for seed, method in comparison.runs.missing:
        typer.echo(f"missing: {method} with seed {seed}")
    if len(comparison.runs.seeds) == 1:
        hint("One seed: there is no spread, so no difference can be distinguished from noise.")
    typer.echo(f"The comparison: {(out / 'index.html').resolve()}")


def _print_comparison(comparison: Comparison) -> None:
    """Prints one row per method within 80 columns. The last column is the difference in Last to `against`."""
    from rich.console import Console
    from rich.table import Table

    from gift_core.report.comparison.compare import row_groups
    from gift_core.report.labels import COLUMN_TITLES, label

    seeds = ", ".join(map(str, comparison.runs.seeds))
    title = f"Percent over seeds {seeds}. Δ Last: difference to {label(comparison.against)}, ≈ within the noise"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True, max_width=24)
    columns = comparison.runs.columns
    for column in (*columns, "difference"):
        table.add_column(COLUMN_TITLES.get(column, "Δ Last"), justify="right", no_wrap=True)
    for group in row_groups(comparison):
        table.add_row(f"[bold]{group.title}")
        for row in group.rows:
            scores = [f"{cell.mean}±{cell.deviation}" if cell.deviation else cell.mean for cell in row.scores]
            last = row.differences[columns.index("last")]
            name = f"{row.name} ({row.seeds})" if row.seeds else row.name
            table.add_row(name, *scores, f"≈{last.mean}" if last.verdict == "noise" else last.mean)
    Console().print(table)
