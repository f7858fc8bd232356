"""show: the result table in the terminal, and where the report lies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages.stage import ROOT, Root
from stages.tables import print_metrics


def show(
    root: Root = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json as it is.")] = False,
) -> None:
    """Print Transfer, Avg, Last and Forgetting of every method, and where the report lies.

    Of a published benchmark the first line says whether the zero-shot row agrees.
    """
    from gift_core.artifacts.report_json import read_metrics
    from gift_core.layout import Layout

    reports = Layout(root).reports()
    metrics = read_metrics(reports / "metrics.json")
    if as_json:
        typer.echo((reports / "metrics.json").read_text(encoding="utf-8"), nl=False)
        return
    if check := _zero_shot(reports / "zero_shot.json"):
        typer.echo(check)
    print_metrics(metrics)
    _print_place(reports / "index.html")


def _zero_shot(path: Path) -> str:
    """The sentence of the report; empty where the run is of no published benchmark, or the file is not here."""
    from gift_core.artifacts.report_json import read_zero_shot

    return str(read_zero_shot(path)["sentence"]) if path.is_file() else ""


def _print_place(page: Path) -> None:
    if page.is_file():
        typer.echo(f"The report: {page.resolve()}")
    else:
        typer.echo(f"There is no {page} here: `dvc pull` brings it, `dvc repro report` makes it.")
