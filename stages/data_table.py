"""The table of `data status` in the terminal, and a line for each data set that a task lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from gift_core.tasks.catalogue.status import DataSetStatus

COLOURS = {"complete": "green", "partial": "yellow", "missing": "dim", "wrong": "red"}
COLUMNS = ("data set", "tasks", "state", "train", "test", "GB")


def print_statuses(statuses: Sequence[DataSetStatus]) -> None:
    """Prints found/expected images of every data set; `tasks` counts those of params.yaml that read it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    table.add_column("where", overflow="fold")
    for status in statuses:
        table.add_row(*(Text(stage, style=COLOURS.get(stage, "")) for stage in _cells(status)))
    Console().print(table)
    for status in statuses:
        if not status.suffices:
            name, faults = status.place.row.name, "; ".join(status.inventory.faults)
            typer.echo(f"{name}: {faults}. `gift data fetch {name}` gets it, or says how.", err=True)


def _cells(status: DataSetStatus) -> list[str]:
    inventory, tasks = status.inventory, len(status.place.tasks)
    counts = [f"{inventory.count(split):,}/{expected:,}" for split, expected in inventory.row.counts.items()]
    size, where = f"{inventory.size / 1e9:.2f}", status.place.path.as_posix()
    return [inventory.row.name, str(tasks) if tasks else "-", inventory.state, *counts, size, where]
