"""compare: compares finished runs with different seeds in a table and a report page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import AsJson, hint, print_json

if TYPE_CHECKING:
    from gift_core.report.comparison.seed_statistics import Comparison

Roots = Annotated[
    list[Path],
    typer.Argument(help="Root folders of finished runs, which contain params.yaml and data/.", metavar="ROOT"),
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
MADE = ("comparison.csv", "comparison.json", "index.html")
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Also compare methods without results for some seeds.")
]


def compare(
    roots: Roots,
    out: Out = Path("reports/comparison"),
    against: Against = None,
    allow_missing: AllowMissing = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs of an experiment with different seeds: means, deviations, and differences that exceed the noise.

    Example: gift compare runs/seed_1 runs/seed_2 runs/seed_3 --against gift
    """
    from gift_core.report.comparison.compare import RECORD, compare_runs
    from gift_core.untrusted import read_json_file

    from .export import require_new

    require_new(out, made=MADE)
    comparison = compare_runs(roots, out, against=against, allow_missing=allow_missing)
    if as_json:
        print_json(read_json_file(out / RECORD))
        return
    _print_table(comparison)
    for seed, method in comparison.runs.missing:
        typer.echo(f"missing: {method} with seed {seed}")
    if len(comparison.runs.seeds) == 1:
        hint("One seed: there is no spread, so no difference can be distinguished from noise.")
    typer.echo(f"The comparison: {(out / 'index.html').resolve()}")


def _print_table(comparison: Comparison) -> None:
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
