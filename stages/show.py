"""show: the result table in the terminal and the location of the report, or the run times."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .metrics_table import print_metrics
from .stage import ROOT, Root


def show(
    root: Root = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json unchanged.")] = False,
    times: Annotated[bool, typer.Option("--times", help="Print the run times of the stages on this machine.")] = False,
) -> None:
    """Print Transfer, Avg, Last and Forgetting of every method, and the location of the report.

    For a published benchmark, the first line says whether the zero-shot accuracies agree.
    """
    from gift_core.artifacts.report_json import read_metrics
    from gift_core.layout import Layout

    if times:
        _print_times(Layout(root).timings())
        return
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


def _print_times(folder: Path) -> None:
    """The total time of each stage. They are of the last run of each stage instance, and no artifact of the run."""
    from gift_core.artifacts.atomic import read_json
    from gift_core.report.labels import duration, plural

    seconds = {
        stage.name: [float(read_json(file, stage.name)["seconds"]) for file in sorted(stage.glob("*.json"))]
        for stage in sorted(folder.glob("*"))
    }
    for stage, of_stage in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        typer.echo(f"{stage:16} {plural(len(of_stage), 'instance'):>14}  {duration(sum(of_stage)):>14}")
    if not seconds:
        typer.echo("No stage ran on this machine. The results came from the cache or from a remote.")


def _print_location(page: Path) -> None:
    if page.is_file():
        typer.echo(f"The report: {page.resolve()}")
    else:
        typer.echo(f"{page} does not exist. Get it with `dvc pull` or make it with `dvc repro report`.")
