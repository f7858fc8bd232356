"""exp: the experiments of `dvc exp run` as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .completion import complete_method
from .metrics_table import COLUMNS, percent
from .output import AsJson, print_json
from .stage import ROOT, Root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

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
    int, typer.Option("--commits", metavar="N", min=1, help="How many commits to show, the newest first.")
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
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("experiment, and what differs in params.yaml", overflow="fold")
    table.add_column("method", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.capitalize(), justify="right", no_wrap=True)
    for experiment in experiments:
        _add(table, experiment, methods)
    Console().print(Text("Accuracy in percent (Forgetting: lower is better)"), table, sep="\n")


def _add(table: Table, experiment: Experiment, methods: list[str]) -> None:
    """Adds a row of the table: one line a method beside the name and one line a change."""
    from rich.text import Text

    lines = [f"{experiment.name} ({experiment.state})" if experiment.state else experiment.name]
    lines += [f"  {change}" for change in experiment.changes]
    rows = list(_numbers(experiment, methods)) or [["-"] * (1 + len(COLUMNS))]
    columns = ["\n".join(column) for column in zip(*rows, strict=True)]
    table.add_row(*map(Text, ["\n".join(lines), *columns]), end_section=True)


def _numbers(experiment: Experiment, methods: list[str]) -> Iterator[list[str]]:
    """Yields the name and the numbers of each of the methods that the experiment has."""
    for method in methods:
        if row := experiment.metrics.get(method):
            yield [method, *(percent(row.get(column)) for column in COLUMNS)]
