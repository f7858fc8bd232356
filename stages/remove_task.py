"""remove-task NAME: takes a task out of tasks and out of the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .completion import complete_task
from .output import AsJson, DryRun, hint, print_difference, print_json, print_names, print_next_stages
from .stage import PARAMS, ROOT, Params, Root

if TYPE_CHECKING:
    from gift_core.params_edit import Removal

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A task of params.yaml.", show_default=False, autocompletion=complete_task),
]


def remove_task(
    name: Name, dry_run: DryRun = False, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Remove a task: its row and its step in params.yaml. The next step then follows the one before.

    Tasks that come later in the sequence are learned again. Images and results
    stay where they are, and the command names them.

    Example: gift remove-task garments --dry-run
    """
    from gift_core.params_edit import plan_task_removal

    removal = plan_task_removal(name, params=params, root=root)
    show_removal("task", name, removal, dry_run=dry_run, as_json=as_json)


def show_removal(kind: str, name: str, removal: Removal, *, dry_run: bool, as_json: bool) -> None:
    """Carries out the removal of a task or a method, and prints what changes, what runs, and what stays."""
    from gift_core.config.checks import ADD_TASK

    if not dry_run:
        removal.carry_out()
    if as_json:
        print_json({kind: name, **_record(removal), "written": not dry_run})
        return
    print_difference(removal.difference())
    if removal.gone:
        typer.echo(f"Stages of {name} that go away:")
        print_names(removal.gone)
    if removal.later:
        typer.echo(f"Learned again, each one step earlier than before: {', '.join(removal.later)}")
    change = f"params.yaml {'would no longer have' if dry_run else 'no longer has'} the {kind} {name}"
    if removal.config.sequence:
        print_next_stages(f"{change}.", removal.stages)
    else:
        hint(f"{change}, and no other. Next: {ADD_TASK}")
    _print_what_stays(removal)
    if dry_run:
        typer.echo("--dry-run: nothing was written")


def _print_what_stays(removal: Removal) -> None:
    if removal.results:
        hint("These results stay, and so do their copies in the cache of DVC:")
        print_names(removal.results)
        hint("To free the disk, remove them, then run dvc gc --workspace: it keeps only what this params.yaml uses.")
    if removal.images is not None:
        target = f", a link to {removal.images.readlink()}" if removal.images.is_symlink() else ""
        hint(f"The images stay in {removal.images}{target}.")


def _record(removal: Removal) -> dict[str, object]:
    return {
        "stages_gone": removal.gone,
        "stages": removal.stages if removal.config.sequence else [],
        "learned_again": removal.later,
        "results": removal.results,
        "images": removal.images,
    }
