"""data fetch NAME...: downloads data sets, or says how to get them."""

from __future__ import annotations

import typer

from stages.data_places import All, Names, chosen_places
from stages.stage import PARAMS, ROOT, Params, Root


def fetch(names: Names = None, every: All = False, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Download data sets into the folders that params.yaml names, or data/0_raw/NAME.

    What cannot be downloaded is explained: which archive, from where, and where
    to put it. The exit code is 0 only if all are complete in the end.
    """
    from gift_core.errors import UserError
    from gift_core.tasks.catalogue.fetch import fetch as download

    places = chosen_places(names, every, params, root)
    failed: list[str] = []
    for place in places:
        typer.echo(f"{place.row.name}: {place.row.title} -> {place.path}")
        try:
            download(place.row, place.path)
        except UserError as error:  # the others are fetched all the same
            failed.append(place.row.name)
            typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        else:
            typer.echo(f"{place.row.name}: complete")
    if failed:
        typer.secho(f"not complete: {', '.join(failed)}", err=True)
        raise typer.Exit(1)
