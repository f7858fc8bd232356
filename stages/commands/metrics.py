"""metrics FILE..., compare ROOT...: the numbers of any tables of accuracies, and of runs with several seeds.

The terminal tables are those of `gift show`, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..command_line import AsJson, hint, note, print_json, print_table, require_new
from ..stage import PARAMS, Params, argument, flag, option

if TYPE_CHECKING:
    from gift_core.report.comparison.runs_by_seed import Comparison

Files = Annotated[list[Path], argument("FILE", "CSV or Parquet files, or folders that contain them.")]
PerTask = Annotated[bool, flag("--per-task", "Also print the metrics of each task (in JSON: by_task).")]
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
    Rows whose optional column phase is "probe" are tests on tasks that no step
    learns, of each step and of step -1: what is kept of zero-shot.
    With --json the numbers have the format of metrics.json and are not rounded.

    Example: gift metrics rows.csv --per-task
    """
    from gift_core.artifacts.accuracy import finished_part, read_accuracy_rows
    from gift_core.method.metrics import probe_scores, summarize

    rows, left_out = finished_part(read_accuracy_rows(files))
    for text in left_out:  # with --quiet, too: the numbers mean something else without it
        typer.echo(f"note: {text}", err=True)
    summaries = summarize(rows)
    by_method: dict[str, dict[str, Any]] = {method: {**summary.metrics} for method, summary in summaries.items()}
    for method, summary in summaries.items():
        if summary.probes is not None:
            by_method[method]["probes"] = probe_scores(100 * summary.probes)
    by_task = {method: summary.by_task for method, summary in summaries.items()}
    if len({tuple(tasks) for tasks in by_task.values() if tasks}) > 1:
        note("note: not all methods learned the same tasks in the same order; do not compare them directly")
    if as_json:
        print_json({m: {**row, **({"by_task": by_task[m]} if per_task else {})} for m, row in by_method.items()})
        return
    steps = {method: str(len(summary.accuracies)) for method, summary in summaries.items()}
    print_metrics(by_method, extra=("Steps", steps))
    for method, tasks in by_task.items() if per_task else ():
        if tasks:
            print_metrics(tasks, title=method, of="task")
        else:
            typer.echo(f"{method}: class-incremental, so there are no rows by task")
        for name, last in by_method[method].get("probes", {}).get("by_task", {}).items():
            typer.echo(f"{method} on the probe {name}: {percent(last)}")


def print_metrics(
    rows: Mapping[str, Mapping[str, Any]],
    *,
    title: str = "",
    of: str = "method",
    extra: tuple[str, Mapping[str, str]] | None = None,
) -> None:
    """Prints one row per name in `rows`, in percent with one decimal. `of` is the title of the first column.

    Omits metrics that no row has. Class-incremental methods have no Transfer and no Forgetting. "probes" of a row are
    those of metrics.json. `extra` is one more column: its title, and its texts by name.
    """
    from rich.box import SIMPLE_HEAD

    shown = [column for column in COLUMNS if any(row[column] is not None for row in rows.values())]
    probes = {name: row["probes"] for name, row in rows.items() if row.get("probes")}
    kept = ["Zero-shot\nkept"] if probes else []
    look: dict[str, Any] = {"box": SIMPLE_HEAD, "show_edge": False, "padding": 0} if kept else {}  # within 80 columns
    added = [] if extra is None else [extra[0]]
    cells = []
    for name, row in rows.items():
        of_probes = probes.get(name)  # `57.0 (-12.7)`: at the end, and the difference to the pre-trained model
        own = f"{percent(of_probes['mean'])} ({_with_unit('_points', -of_probes['loss'])})" if of_probes else "-"
        more = ([own] if kept else []) + ([] if extra is None else [extra[1][name]])
        cells.append((name, *(percent(row[column]) for column in shown), *more))
    print_table(
        (of, *map(str.capitalize, shown), *kept, *added),
        cells,
        title=title or f"{TITLE}{' (Forgetting: lower is better)' if 'forgetting' in shown else ''}",
        left=1,
        whole=(*kept, *added),
        **look,
    )


def percent(value: float | None) -> str:
    """Returns a percentage with one decimal, - for None: one task has no Transfer and no Forgetting."""
    from gift_core.artifacts.report_json import one_decimal

    return "-" if value is None else one_decimal(value)


def print_by_task(rows: Mapping[str, Mapping[str, float | None]], columns: Sequence[str], *, title: str) -> None:
    """Prints one row per task. The title of a column is its key without the unit; differences have a sign."""
    names = [each.removesuffix("_percent").removesuffix("_points").replace("_", " ").capitalize() for each in columns]
    cells = [(task, *(_with_unit(column, row[column]) for column in columns)) for task, row in rows.items()]
    print_table(("task", *names), cells, title=title, left=1)


def print_text(text: str, link: str = "") -> None:
    """Prints a paragraph, wrapped at the width of the terminal. With `link` it is one line, which opens it."""
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    Console().print(Text(text, style=Style(link=link or None)), soft_wrap=bool(link))


def _with_unit(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if column.endswith("_points"):
        return f"+{percent(value)}" if value > 0 and percent(value) != "0.0" else percent(value)
    return percent(value) if column.endswith("_percent") else f"{value:,.0f}"


Roots = Annotated[
    list[Path] | None, argument("ROOT", "Root folders of finished runs, which contain params.yaml and data/.")
]
Seeds = Annotated[
    str | None, option("N", "First run the experiment with N seeds, from that of params.yaml on. 4,5,6: with these.")
]
Methods = Annotated[str | None, option("NAMES", "Only these: finetune,gift (default: all of run.methods).")]
Out = Annotated[Path, option("FOLDER", "The folder to write: index.html, comparison.csv, comparison.json.")]
Against = Annotated[
    str | None, option("METHOD", "The method to compare with (default: the one with the highest Last).")
]
AllowMissing = Annotated[bool, flag("--allow-missing", "Also compare methods without results for some seeds.")]


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

    from ..dvc.seed_runs import run_seeds

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
    print_comparison(comparison)
    typer.echo(f"The comparison: {(out / 'index.html').resolve()}")


def print_comparison(comparison: Comparison) -> None:
    """Prints a row for each method: means with deviations over the seeds, and differences to the one compared with."""
    from gift_core.report.labels import COLUMN_TITLES, label, number, signed

    columns, probes = comparison.runs.columns, "probes" in comparison.runs.columns
    compared = ("last", "probes") if probes else ("last",)
    shown = [column for column in columns if not probes or column != "own"]  # within 80 columns; the page has it
    deltas = {"last": "Δ Last", "probes": "Δ kept"}
    over = ", ".join(map(str, comparison.runs.seeds))
    title = f"Percent over seeds {over}. Δ: difference to {label(comparison.against)}, ≈ within the noise"
    headings = [*(COLUMN_TITLES[column] for column in shown), *(deltas[column] for column in compared)]
    headings = [heading.replace("-shot ", "-shot\n") for heading in headings]
    rows: list[list[str]] = []
    titles = []
    for group in comparison.groups:
        titles.append(len(rows))
        rows.append([group.title])
        for method in group.methods:
            scores, differences, cells = comparison.scores[method], comparison.differences.get(method, {}), []
            for own in map(scores.get, shown):
                deviation = f"±{number(own.std())}" if own is not None and len(own) > 1 else ""
                cells.append(number(None if own is None else own.mean()) + deviation)
            for column in compared:
                found = differences.get(column)
                noise = "≈" if found and found.verdict(column) == "noise" else ""
                cells.append(noise + signed(found.mean) if found else "")
            count, total = len(scores[columns[-1]]), len(comparison.runs.seeds)
            rows.append([label(method) if count == total else f"{label(method)} ({count} of {total} seeds)", *cells])
    whole = [*headings, *([] if probes else [""])]
    print_table(("", *headings), rows, title=title, bold=titles, left=1, whole=whole, box=None, padding=(0, 1, 0, 0))
    for seed, method in comparison.runs.missing:
        typer.echo(f"missing: {method} with seed {seed}")
    if len(comparison.runs.seeds) == 1:
        hint("One seed: there is no spread, so no difference can be distinguished from noise.")
