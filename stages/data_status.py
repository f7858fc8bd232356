"""data status: which data sets of the catalogue are on the disk, and whether params.yaml has all it needs."""

from __future__ import annotations

from typing import Annotated

import typer

from stages.data_places import Names
from stages.data_table import print_statuses
from stages.stage import PARAMS, ROOT, Params, Root

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with all that is off.")]


def status(names: Names = None, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT) -> None:
    """List the data sets: complete, partial, missing or wrong, how many images, and where.

    Under "tasks" stands how many tasks of params.yaml read the data set. Files are
    listed, no image is decoded. The exit code is 0 only if all that params.yaml
    needs is there.
    """
    import json

    from gift_core.config.loading import load_config
    from gift_core.tasks.catalogue.status import data_set_statuses

    statuses = data_set_statuses(names or (), load_config(params).tasks, root=root)
    if as_json:
        typer.echo(json.dumps([status.record() for status in statuses], indent=2, ensure_ascii=False))
    else:
        print_statuses(statuses)
    if not all(status.suffices for status in statuses):
        raise typer.Exit(1)
