"""data status, data fetch, data verify: the raw data sets of published benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import GiftCommand
from .output import AsJson, note, print_json
from .stage import PARAMS, ROOT, Params, Root

if TYPE_CHECKING:
    from gift_core.datasets.catalogue.status import DatasetStatus, RawDataset, Verification

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Data sets, as `gift data status` lists them.", show_default=False),
]
All = Annotated[bool, typer.Option("--all", help="All data sets that params.yaml needs.")]
COLORS = {"complete": "green", "partial": "yellow", "missing": "dim", "wrong": "red"}
COLUMNS = ("data set", "tasks", "state", "train", "test", "GB")
NAMED = 5  # images and classes that are printed by name

data = typer.Typer(
    help="The data sets of published benchmarks: which ones are complete, and how to get the others.",
    no_args_is_help=True,
)


@data.command(cls=GiftCommand)
def status(names: Names = None, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT) -> None:
    """List the data sets: complete, partial, missing or wrong, with image counts and folders.

    The column "tasks" is the number of tasks in params.yaml that read the data set.
    Files are listed, no image is decoded. The exit code is 0 only if everything
    that params.yaml needs exists.

    Example: gift data status
    """
    from gift_core.config.loading import load_config
    from gift_core.datasets.catalogue.status import dataset_statuses

    statuses = dataset_statuses(names or (), load_config(params).tasks, root=root)
    if as_json:
        print_json([status.record() for status in statuses])
    else:
        _print_statuses(statuses)
    if not all(status.suffices for status in statuses):
        raise typer.Exit(1)


def _print_statuses(statuses: Sequence[DatasetStatus]) -> None:
    """Prints a table with found/expected images, and one line for each data set that a task lacks."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    table.add_column("folder", overflow="fold")
    for status in statuses:
        table.add_row(*(Text(value, style=COLORS.get(value, "")) for value in _values(status)))
    Console().print(table)
    for status in statuses:
        if not status.suffices:
            name, faults = status.raw.row.name, "; ".join(status.inventory.faults)
            note(f"{name}: {faults}. Run: gift data fetch {name}")


def _values(status: DatasetStatus) -> list[str]:
    inventory, tasks = status.inventory, len(status.raw.tasks)
    counts = [f"{inventory.count(split):,}/{expected:,}" for split, expected in inventory.row.counts.items()]
    size, folder = f"{inventory.size / 1e9:.2f}", status.raw.path.as_posix()
    return [inventory.row.name, str(tasks) if tasks else "-", inventory.state, *counts, size, folder]


@data.command(cls=GiftCommand)
def fetch(
    names: Names = None, every: All = False, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Download data sets into the folders that params.yaml names, or into data/0_raw/NAME.

    For a data set that cannot be downloaded, this prints which archive to get, from
    where, and where to unpack it. The exit code is 0 only if all are complete.

    Example: gift data fetch dtd
    """
    from gift_core.datasets.catalogue.fetch import fetch as download
    from gift_core.errors import UserError

    failed: list[str] = []
    complete: list[str] = []
    for raw in _chosen(names, every, params, root):
        note(f"{raw.row.name}: {raw.row.title} -> {raw.path}")
        try:
            download(raw.row, raw.path)
        except UserError as error:  # go on with the others
            failed.append(raw.row.name)
            typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        else:
            complete.append(raw.row.name)
            if not as_json:
                typer.echo(f"{raw.row.name}: complete")
    if as_json:
        print_json({"complete": complete, "failed": failed})
    if failed:
        typer.secho(f"not complete: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


@data.command(cls=GiftCommand)
def verify(
    names: Names = None, every: All = False, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Decode every image of data sets, count splits and classes, and name the first bad images.

    The exit code is 0 only if each is the official data set and can be read.

    Example: gift data verify --all
    """
    from gift_core.datasets.catalogue.status import verify as decode_all

    bad: list[str] = []
    records: list[dict[str, object]] = []
    for raw in _chosen(names, every, params, root):
        verification = decode_all(raw.row, raw.path)
        records.append({"name": raw.row.name, "sound": verification.sound, "found": _lines(verification)})
        for line in [] if as_json else _lines(verification):
            typer.echo(f"{raw.row.name}: {line}")
        if not verification.sound:
            bad.append(raw.row.name)
    if as_json:
        print_json(records)
    if bad:
        typer.secho(f"not as published: {', '.join(bad)}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _lines(verification: Verification) -> list[str]:
    inventory = verification.inventory
    lines = [f"{inventory.state} in {inventory.folder}", *inventory.faults]
    if not any(inventory.splits.values()):
        return lines
    for split, balance in verification.balances.items():
        spread = f"{balance.least} to {balance.most} per class, median {balance.median:g}"
        lines.append(f"{split}: {inventory.count(split):,} images, {spread}")
        if balance.empty:
            lines.append(f"{split}: {len(balance.empty)} classes have none: {_first(balance.empty)}")
    unreadable = [f"{file} ({reason})" for file, reason in verification.unreadable]
    lines.append(f"{len(unreadable)} images cannot be decoded{': ' if unreadable else ''}{_first(unreadable)}")
    return lines


def _first(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _chosen(names: list[str] | None, every: bool, params: Path, root: Path) -> list[RawDataset]:
    """Returns the named data sets, or with `every` those that params.yaml needs. UserError if there are none."""
    from gift_core.config.loading import load_config
    from gift_core.datasets.catalogue.status import datasets_in_use, datasets_named
    from gift_core.errors import UserError

    tasks = load_config(params).tasks
    if bool(names) == every:
        what = "name data sets, or write --all for those that params.yaml needs"
        raise UserError(f"gift data: {what}. `gift data status` lists them.")
    if names:
        return datasets_named(names, tasks, root=root)
    in_use = datasets_in_use(tasks, root=root)
    if not in_use:
        raise UserError(f"{params}: no task reads a data set of the catalogue. Name one, or try: gift use mtil_order_1")
    return in_use
