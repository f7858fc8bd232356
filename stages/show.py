"""show: the result table in the terminal, and the location of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages.metrics_table import print_metrics
from stages.stage import ROOT, Root


def show(
    root: Root = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json unchanged.")] = False,
) -> None:
    """Print Transfer, Avg, Last and Forgetting of every method, and the location of the report.

    For a published benchmark, the first line says whether the zero-shot accuracies agree.
    """
    from gift_core.artifacts.report_json import read_metrics
    from gift_core.layout import Layout

    reports = Layout(root).reports()
    metrics = read_metrics(reports / "metrics.json")
    if as_json:
        typer.echo((reports / "metrics.json").read_text(encoding="utf-8"), nl=False)
        return
    if sentence := _zero_shot_sentence(reports / "zero_shot.json"):
        typer.echo(sentence)
    print_metrics(metrics)
    _print_location(reports / "index.html")


def _zero_shot_sentence(path: Path) -> str:
    """The sentence of the report, empty if the run is not a published benchmark or the file is missing."""
    from gift_core.artifacts.report_json import read_zero_shot

    return str(read_zero_shot(path)["sentence"]) if path.is_file() else ""


def _print_location(page: Path) -> None:
    if page.is_file():
        typer.echo(f"The report: {page.resolve()}")
    else:
        typer.echo(f"{page} does not exist. Get it with `dvc pull` or make it with `dvc repro report`.")
