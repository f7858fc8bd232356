"""data status, data fetch: the raw data of the tasks, one's own and those of published benchmarks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.progress import progress

from ..command_line import PLAIN, AsJson, GiftCommand, hint, note, print_error, print_json, print_table
from ..options import PARAMS, ROOT, Params, Root, argument, flag, params_of

Names = Annotated[list[str] | None, argument("NAME", "Tasks with your own images, or data sets of the catalogue.")]
COLUMNS = ("data set", "tasks", "state", "train", "test", "GB", "folder")

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
    from gift_core.config.checks import ADD_TASK, NO_TASK
    from gift_core.config.loading import load_config
    from gift_core.datasets.catalogue.inventory import catalogue_names
    from gift_core.datasets.status import data_in_use, open_raw

    config = load_config(params_of(params, root))
    raws = data_in_use(config, names, root=root)
    records = list[dict[str, Any]]()
    rows = list[tuple[str, ...]]()
    problems = list[str]()
    for raw in progress(raws, len(raws), "data sets"):
        inventory = open_raw(raw, config, root)
        dataset = inventory.dataset
        size = sum(sample.size for sample in (*dataset.train, *dataset.test))
        suffices = not raw.tasks or raw.is_enough(inventory)
        expected = raw.row.counts if raw.row else {}
        splits = {split: {"found": n, "expected": expected.get(split)} for split, n in dataset.counts.items()}
        counts = []
        for numbers in splits.values():
            counts.append("/".join(f"{n:,}" for n in numbers.values() if n is not None))
        path = raw.path.as_posix()
        rows.append((raw.name, f"{len(raw.tasks) or '-'}", inventory.state, *counts, f"{size / 1e9:.2f}", path))
        record = {"data_set": raw.name, "tasks": raw.tasks, "state": inventory.state, "suffices": suffices, **splits}
        records.append({**record, "bytes": size, "path": path, "faults": inventory.faults})
        if not suffices:
            is_fetched = raw.row or getattr(config.tasks[raw.name], "repository", None)
            remedy = f". Run: gift data fetch {raw.name}" if is_fetched else ""
            problems.append(f"{raw.name}: {'; '.join(inventory.faults).rstrip('.')}{remedy}")
    if as_json:
        print_json(records)
    else:
        if rows:
            print_table(COLUMNS, rows, left=len(COLUMNS), whole=COLUMNS[:-1], **PLAIN)
        for line in problems:
            note(line)
        if not names:
            if not config.tasks:
                typer.echo(f"No data is needed: {NO_TASK}. Add one: {ADD_TASK}")
            others = [name for name in catalogue_names() if name not in {raw.name for raw in raws}]
            hint(f"The catalogue also has {', '.join(others)}. See one: gift data status NAME")
    if problems:
        raise typer.Exit(1)


@data.command(cls=GiftCommand)
def fetch(
    names: Names = None,
    every: bool = flag("--all", "All data sets that params.yaml needs."),
    hub: bool = flag("--hub", "Take the hub's copy of a published data set, if the catalogue has one."),
    as_json: AsJson = False,
    params: Params = PARAMS,
    root: Root = ROOT,
) -> None:
    """Download data sets into the folders that params.yaml names, or into data/0_raw/NAME.

    For a data set that cannot be downloaded, this prints which archive to get, from
    where, and where to unpack it. The exit code is 0 only if all are complete.

    Example: gift data fetch dtd
    """
    from gift_core.config.loading import load_config
    from gift_core.config.tasks import HubTaskConfig, PairsTaskConfig
    from gift_core.datasets.catalogue.fetch import fetch as download
    from gift_core.datasets.hub_dataset import fetch_hub
    from gift_core.datasets.status import data_in_use

    failed, complete = list[str](), list[str]()
    config = load_config(params_of(params, root))
    if bool(names) == every:
        raise UserError(
            "gift data fetch: name data sets, or write --all for what params.yaml needs (gift data status)."
        )
    for raw in data_in_use(config, names, root=root):
        task = config.tasks.get(raw.name) if raw.row is None else None
        repository = getattr(task, "repository", None)
        if raw.row is None and repository is None:
            if not every:
                problem = f"has your own images, which nothing can download. Put them into {raw.path}"
                raise UserError(f"gift data fetch: {raw.name} {problem}.")
            continue
        note(f"{raw.name}: {raw.row.title if raw.row else repository} -> {raw.path}")
        work = Layout(root).work("fetch", raw.name)
        try:
            if raw.row is not None:
                download(raw.row, raw.path, work, hub=hub)
            elif isinstance(task, HubTaskConfig | PairsTaskConfig):
                fetch_hub(raw.name, task, work, root)
        except UserError as error:  # go on with the others
            failed.append(raw.name)
            print_error(error)
        else:
            complete.append(raw.name)
            if not as_json:
                typer.echo(f"{raw.name}: complete")
    if as_json:
        print_json({"complete": complete, "failed": failed})
    if failed:
        typer.secho(f"not complete: {', '.join(failed)}", err=True)
        raise typer.Exit(1)
