"""Which data sets a data command is about: those named, those that params.yaml needs, or the whole catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gift_core.tasks.catalogue.needed import Place

Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Data sets (see `gift data status`).", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="All that params.yaml needs.")]


def chosen_places(names: list[str] | None, every: bool, params: Path, root: Path) -> list[Place]:
    """Returns the places of the named data sets, or of those that the params file needs where `every`.

    UserError for none or an unknown one.
    """
    from gift_core.config.loading import load_config
    from gift_core.errors import UserError
    from gift_core.tasks.catalogue.needed import places_in_use, places_of

    tasks = load_config(params).tasks
    if bool(names) == every:
        raise UserError(
            "gift data: name data sets, or write --all for those of params.yaml. `gift data status` lists them."
        )
    if names:
        return places_of(names, tasks, root=root)
    places = places_in_use(tasks, root=root)
    if not places:
        raise UserError(f"{params}: no task reads a data set of the catalogue. Name one, or try: gift use mtil_order_1")
    return places
