"""data status, data fetch, data verify: the raw data of the tasks, one's own and those of published benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command_line import AsJson, GiftCommand, hint, note, print_json
from .stage import PARAMS, ROOT, Params, Root, params_of

if TYPE_CHECKING:
    from gift_core.config.experiment import Config
    from gift_core.datasets.status import DatasetStatus, RawDataset, UserDataset, Verification

Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Tasks with your own images, or data sets of the catalogue.")
]
All = Annotated[bool, typer.Option("--all", help="All data sets that params.yaml needs.")]
COLORS = {"complete": "green", "partial": "yellow", "missing": "dim", "wrong": "red"}
COLUMNS = ("data set", "tasks", "state", "train", "test", "GB")

data = typer.Typer(
    help="The data that params.yaml needs: which is complete, and how to get the rest.",
    no_args_is_help=True,
)


@data.command(cls=GiftCommand)
def status(names: Names = None, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT) -> None:
    """List the data that params.yaml needs: complete, partial, missing or wrong, with image counts and folders.

    Your own images come first. Any data set of the catalogue is listed if you name
    it. The column "tasks" is the number of tasks that read it. No image is decoded.
    The exit code is 1 if something that params.yaml needs is missing or wrong.

    Example: gift data status
    """
    from gift_core.config.loading import load_config
    from gift_core.datasets.status import status_of

    config = load_config(params_of(params, root))
    own, raws = _named(names, config, root) if names else _needed(config, root)
    statuses: list[UserDataset | DatasetStatus] = [*own, *status_of(raws)]
    if as_json:
        print_json([status.record() for status in statuses])
    else:
        _print_statuses(statuses)
        if not names:
            _print_rest(config, statuses)
    if not all(status.suffices for status in statuses):
        raise typer.Exit(1)


def _needed(config: Config, root: Path) -> tuple[list[UserDataset], list[RawDataset]]:
    """The data sets that the tasks read: the user's own and those of the catalogue."""
    from gift_core.datasets.status import datasets_in_use, open_own, own_tasks

    own = [open_own(name, task, seed=config.seed, root=root) for name, task in own_tasks(config.tasks).items()]
    return own, datasets_in_use(config.tasks, root=root)


def _named(names: list[str], config: Config, root: Path) -> tuple[list[UserDataset], list[RawDataset]]:
    """The data sets with these names. UserError with the nearest name for an unknown one."""
    from gift_core.datasets.catalogue.row import catalogue_names
    from gift_core.datasets.status import datasets_named, open_own, own_tasks
    from gift_core.errors import lookup

    tasks = own_tasks(config.tasks)
    for name in names:
        lookup({**tasks, **dict.fromkeys(catalogue_names())}, name, "gift data")
    own = [open_own(name, tasks[name], seed=config.seed, root=root) for name in dict.fromkeys(names) if name in tasks]
    return own, datasets_named([name for name in names if name not in tasks], config.tasks, root=root)


def _print_statuses(statuses: Sequence[UserDataset | DatasetStatus]) -> None:
    """Prints a table with the images of each data set, and one line for each one that a task lacks."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not statuses:
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    table.add_column("folder", overflow="fold")
    for status in statuses:
        table.add_row(*(Text(value, style=COLORS.get(value, "")) for value in _values(status.record())))
    Console().print(table)
    for status in statuses:
        if not status.suffices:
            record = status.record()
            remedy = "" if record["train"]["expected"] is None else f". Run: gift data fetch {record['data_set']}"
            note(f"{record['data_set']}: {'; '.join(record['faults'])}{remedy}")


def _values(record: dict[str, Any]) -> list[str]:
    """The cells of a row. Of a published data set, the expected counts are known: found/expected."""
    counts = [record[split] for split in ("train", "test")]
    shown = [
        f"{count['found']:,}" if count["expected"] is None else f"{count['found']:,}/{count['expected']:,}"
        for count in counts
    ]
    tasks, size = len(record["tasks"]), f"{record['bytes'] / 1e9:.2f}"
    return [record["data_set"], str(tasks) if tasks else "-", record["state"], *shown, size, record["path"]]


def _print_rest(config: Config, statuses: Sequence[UserDataset | DatasetStatus]) -> None:
    """Prints what needs no data, and which data sets the catalogue has besides."""
    from gift_core.config.checks import ADD_TASK, NO_TASK
    from gift_core.datasets.catalogue.row import catalogue_names

    drawn = sum(task.source == "mini" for task in config.tasks.values())
    if drawn:
        typer.echo(f"{drawn} tasks of the miniature benchmark need no data.")
    if not config.tasks:
        typer.echo(f"No data is needed: {NO_TASK}. Add one: {ADD_TASK}")
    listed = {status.record()["data_set"] for status in statuses}
    others = [name for name in catalogue_names() if name not in listed]
    hint(f"The catalogue also has {', '.join(others)}. See one: gift data status NAME")


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
    from gift_core.layout import Layout

    failed: list[str] = []
    complete: list[str] = []
    own, raws = _chosen(names, every, params_of(params, root), root)
    if own and not every:
        what = f"has your own images, which nothing can download. Put them into {own[0].path}"
        raise UserError(f"gift data fetch: {own[0].name} {what}.")
    for raw in raws:
        note(f"{raw.row.name}: {raw.row.title} -> {raw.path}")
        try:
            download(raw.row, raw.path, Layout(root).work("fetch", raw.row.name))
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
    """Decode every image, of your own tasks and of published data sets, and name the images that are broken.

    Your own images are checked as by add-task --check. A published data set is
    compared with its official counts. The exit code is 0 only if every image can be
    read, and each published data set is the official one.

    Example: gift data verify --all
    """
    from gift_core.datasets.status import verify as decode_all

    own, raws = _chosen(names, every, params_of(params, root), root)
    found: dict[str, tuple[bool, list[str]]] = {}
    for each in own:
        found[each.name] = _own_lines(each)
        _print_lines(each.name, found[each.name][1], as_json)
    for raw in raws:
        verification = decode_all(raw.row, raw.path)
        found[raw.row.name] = verification.sound, _lines(verification)
        _print_lines(raw.row.name, found[raw.row.name][1], as_json)
    if as_json:
        print_json([{"name": name, "sound": sound, "found": lines} for name, (sound, lines) in found.items()])
    if bad := [name for name, (sound, _) in found.items() if not sound]:
        typer.secho(f"not sound: {', '.join(bad)}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _print_lines(name: str, lines: list[str], as_json: bool) -> None:
    for line in [] if as_json else lines:
        typer.echo(f"{name}: {line}")


def _own_lines(own: UserDataset) -> tuple[bool, list[str]]:
    """Whether a data set of the user's is sound, and what was found: every broken image in a line of its own."""
    from gift_core.datasets.image_check import check_images

    state = f"{own.state} in {own.path}"
    if own.dataset is None:
        return False, [state, own.fault]
    findings = check_images(own.dataset, own.name)
    counts = ", ".join(f"{count:,} {split} images" for split, count in own.counts.items())
    lines = [state, f"{counts}, {own.dataset.described}", *own.dataset.notes, *findings.lines()]
    lines.append(f"{len(findings.broken)} images cannot be decoded{':' if findings.broken else ''}")
    return not findings.broken, [*lines, *(f"  {file} ({reason})" for file, reason in findings.broken)]


def _lines(verification: Verification) -> list[str]:
    from gift_core.quantities import first_names

    inventory = verification.inventory
    lines = [f"{inventory.state} in {inventory.folder}", *inventory.faults]
    if not any(inventory.splits.values()):
        return lines
    for split, balance in verification.balances.items():
        spread = f"{balance.least} to {balance.most} per class, median {balance.median:g}"
        lines.append(f"{split}: {inventory.count(split):,} images, {spread}")
        if balance.empty:
            lines.append(f"{split}: {len(balance.empty)} classes have none: {first_names(balance.empty)}")
    unreadable = [f"{file} ({reason})" for file, reason in verification.unreadable]
    lines.append(f"{len(unreadable)} images cannot be decoded{': ' if unreadable else ''}{first_names(unreadable)}")
    return lines


def _chosen(
    names: list[str] | None, every: bool, params: Path, root: Path
) -> tuple[list[UserDataset], list[RawDataset]]:
    """Returns the named data sets, or with `every` those that params.yaml needs. UserError if there are none."""
    from gift_core.config.checks import ADD_TASK
    from gift_core.config.loading import load_config
    from gift_core.errors import UserError

    config = load_config(params)
    if bool(names) == every:
        what = "name data sets, or write --all for those that params.yaml needs"
        raise UserError(f"gift data: {what}. `gift data status` lists them.")
    own, raws = _named(names, config, root) if names else _needed(config, root)
    if not own and not raws:
        raise UserError(f"{params}: no task needs data. Name a data set, or add your images: {ADD_TASK}")
    return own, raws
