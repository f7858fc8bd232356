"""remove-method NAME: takes a method out of methods and run.methods of params.yaml."""

from __future__ import annotations

from typing import Annotated

import typer

from .completion import complete_method
from .output import AsJson, DryRun
from .remove_task import show_removal
from .stage import PARAMS, ROOT, Params, Root

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A method of params.yaml.", show_default=False, autocompletion=complete_method),
]


def remove_method(
    name: Name, dry_run: DryRun = False, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Remove a method: its row in methods of params.yaml, and its name in run.methods.

    To keep the row and only not run it, take the name out of run.methods yourself.
    Results stay where they are, and the command names them.

    Example: gift remove-method strong --dry-run
    """
    from gift_core.params_edit import plan_method_removal

    removal = plan_method_removal(name, params=params, root=root)
    show_removal("method", name, removal, dry_run=dry_run, as_json=as_json)
