"""compare: finished runs that differ in their seeds become one table with its spread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gift_core.report.comparison.figures import Comparison

Roots = Annotated[
    list[Path], typer.Argument(help="Finished runs: each holds params.yaml and data/.", metavar="ROOT...")
]
Out = Annotated[Path, typer.Option("--out", help="The folder to write: index.html, comparison.csv, comparison.json.")]
Against = Annotated[
    str | None, typer.Option("--against", help="The method that differences are to; the best by Last if not given.")
]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Compare methods that lack a seed, too.")]


def compare(
    roots: Roots,
    out: Out = Path("reports/comparison"),
    against: Against = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Compare runs of one experiment over their seeds: means, spreads, and which differences exceed the noise."""
    from gift_core.report.comparison import compare_runs

    comparison = compare_runs(roots, out, against=against, allow_missing=allow_missing)
    _print_table(comparison)
    for seed, method in comparison.runs.missing:
        typer.echo(f"missing: {method} with seed {seed}")
    if len(comparison.runs.seeds) == 1:
        typer.echo("One seed: no spread can be given, and no difference told from noise.")
    typer.echo(f"The comparison: {(out / 'index.html').resolve()}")


def _print_table(comparison: Comparison) -> None:
    """A line a method, narrow enough for 80 columns; the last column is the difference in Last to the chosen method."""
    from rich.console import Console
    from rich.table import Table

    from gift_core.report.comparison.figures import TITLES
    from gift_core.report.comparison.tables import row_groups
    from gift_core.report.words import label

    seeds = ", ".join(map(str, comparison.runs.seeds))
    title = f"Percent over seeds {seeds}. Δ Last: to {label(comparison.against)}, ≈ within the noise"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True, max_width=24)
    columns = comparison.runs.columns
    for column in (*columns, "difference"):
        table.add_column(TITLES.get(column, "Δ Last"), justify="right", no_wrap=True)
    for group in row_groups(comparison):
        table.add_row(f"[bold]{group.title}")
        for row in group.rows:
            figures = [f"{stage.mean}±{stage.deviation}" if stage.deviation else stage.mean for stage in row.figures]
            last = row.differences[columns.index("last")]
            name = f"{row.name} ({row.seeds})" if row.seeds else row.name
            table.add_row(name, *figures, f"≈{last.mean}" if last.verdict == "noise" else last.mean)
    Console().print(table)
