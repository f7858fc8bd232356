"""methods, add-method NAME, remove-method NAME: the rows of methods, and their names in run.methods."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..command_line import AsJson, DryRun, hint, next_step, print_edit, print_json
from ..completion import complete_known_method, complete_method
from ..stage import PARAMS, ROOT, Params, Root, argument, option, params_of
from .edit_task import show_removal

Name = Annotated[
    str,
    argument(
        "NAME",
        "A method of `gift methods`, or a new name: lower-case letters, digits and _.",
        autocompletion=complete_known_method,
    ),
]
Base = Annotated[
    str | None,
    option(
        "METHOD",
        "Copy the row of this method, which `gift methods` lists (with --set, gift is the default).",
        "--from",
        autocompletion=complete_known_method,
    ),
]
Settings = Annotated[
    list[str] | None,
    option("KEY=VALUE", "Change a key of the copied row: losses.distill.weight=2.0. Repeat it for several.", "--set"),
]


def methods(as_json: AsJson = False, params: Params = PARAMS) -> None:
    """List the methods: those of params.yaml, and those that `gift add-method` adds from the catalogue.

    Example: gift methods
    """
    from gift_core.config.loading import load_config
    from gift_core.config.params_edit import known_methods

    config = load_config(params)
    abouts = {name: method.about for name, method in known_methods(config, params).items()}
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([*abouts, *config.methods]):
        about, runs = abouts.get(name, "Your own: only params.yaml has it."), name in config.run.methods
        rows.append({"method": name, "about": about, "runs": runs, "in_params": name in config.methods})
    if as_json:
        print_json(rows)
        return
    marked = {f"{row['method']} *" if row["runs"] else str(row["method"]): row["about"] for row in rows}
    for name, about in marked.items():
        typer.secho(name.ljust(max(map(len, marked))), nl=False, bold=True)
        typer.echo(f"  {about}")
    hint("\n* runs (run.methods of params.yaml). `gift add-method NAME` adds another one.")


def add_method(
    name: Name,
    base: Base = None,
    settings: Settings = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    params: Params = PARAMS,
) -> None:
    """Add a method to the experiment: one that `gift methods` lists, or a copy of it with some changes.

    A row is added to methods of params.yaml, and its name to run.methods. If the
    row is there already, only run.methods gets its name. With --from or --set, the
    row is a copy. The whole file is checked first. It keeps its comments and order.

    Example: gift add-method strong --from gift --set losses.distill.weight=2.0
    """
    from gift_core.config.params_edit import plan_method

    addition, copied = plan_method(name, base=base, settings=settings or [], params=params)
    if not dry_run:
        addition.carry_out()
    if as_json:
        row = addition.config.methods[name].model_dump(mode="json", exclude_unset=True)
        print_json({"method": name, "copy_of": copied, "row": row, "written": not dry_run})
        return
    what = f"a copy of {copied}" if copied else "its row is in methods already"
    if copied == name:
        what = f"a row of the catalogue{' with changes' if settings else ''}"
    typer.echo(f"{name}: {what}")
    print_edit(addition, dry_run=dry_run)
    if not dry_run:
        hint(f"params.yaml has the new method. {next_step(addition.config)}")
        hint(f"To take it back: {f'gift remove-method {name}' if copied else f'remove {name} from run.methods'}")


KnownName = Annotated[str, argument("NAME", "A method of params.yaml.", autocompletion=complete_method)]


def remove_method(
    name: KnownName, dry_run: DryRun = False, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Remove a method: its row in methods of params.yaml, and its name in run.methods.

    To keep the row and only not run it, take the name out of run.methods yourself.
    Results stay where they are.

    Example: gift remove-method strong --dry-run
    """
    from gift_core.config.params_edit import plan_method_removal

    removal = plan_method_removal(name, params=params_of(params, root))
    show_removal(removal, {"method": name}, dry_run=dry_run, as_json=as_json)
