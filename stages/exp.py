"""exp: the experiments of `dvc exp run`, with what differs and the numbers of each method."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import complete_method
from .metrics_table import COLUMNS, percent
from .output import AsJson, print_json
from .stage import MOST, ROOT, Root

if TYPE_CHECKING:
    from gift_core.team.experiments import Experiment

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="METHOD",
        help="Only this method. Repeat it for several.",
        autocompletion=complete_method,
    ),
]
Commits = Annotated[
    int, typer.Option("--commits", metavar="N", min=1, max=MOST, help="How many commits to show, the newest first.")
]


def exp(only: Only = None, commits: Commits = 1, as_json: AsJson = False, root: Root = ROOT) -> None:
    """List the experiments: what differs in params.yaml, and the four numbers of each method.

    `dvc exp run --set-param KEY=VALUE` makes one, `dvc exp apply NAME` takes it.

    Example: gift exp --method gift --commits 3
    """
    from gift_core.errors import lookup
    from gift_core.team.experiments import read_experiments

    experiments = read_experiments(root, commits=commits)
    methods = {method: method for experiment in experiments for method in experiment.metrics}
    for name in only or []:
        lookup(methods, name, "--method")
    if as_json:
        print_json([_record(experiment, only or list(methods)) for experiment in experiments])
    else:
        _print_table(experiments, only or list(methods))


def _record(experiment: Experiment, methods: list[str]) -> dict[str, object]:
    return {
        "name": experiment.name,
        "state": experiment.state,
        "changes": list(experiment.changes),
        "metrics": {method: row for method, row in experiment.metrics.items() if method in methods},
    }


def _print_table(experiments: list[Experiment], methods: list[str]) -> None:
    """Prints a block for each experiment: its name, a line for each change, a line for each method."""
    width = max(map(len, methods), default=0)
    typer.echo("Accuracy in percent (Forgetting: lower is better)")
    typer.echo(_line("", [column.capitalize() for column in COLUMNS], width))
    for experiment in experiments:
        state = f" ({experiment.state})" if experiment.state else ""
        typer.secho(f"{experiment.name}{state}", bold=True)
        for change in experiment.changes:
            typer.echo(_wrapped(change))
        rows = {method: row for method in methods if (row := experiment.metrics.get(method))}
        for method, row in rows.items():
            typer.echo(_line(method, [percent(row.get(column)) for column in COLUMNS], width))
        if not rows:
            typer.echo("    no metrics yet")


def _line(method: str, numbers: list[str], width: int) -> str:
    right = (f"{number:>{len(column) + 3}}" for column, number in zip(COLUMNS, numbers, strict=True))
    return f"    {method:{width}}{''.join(right)}"


def _wrapped(change: str) -> str:
    """The lines after the first have a deeper indent. Names are never broken, even where they are too long."""
    width = shutil.get_terminal_size().columns
    wrapper = textwrap.TextWrapper(width, "  ", "      ", break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(change)
