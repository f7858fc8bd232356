"""use PRESET: presets/PRESET.yaml becomes params.yaml, a changed one is kept beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stages.stage import ROOT, Root

if TYPE_CHECKING:
    from collections.abc import Iterable

Preset = Annotated[str, typer.Argument(help="One of those that `gift presets` lists.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")]
COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED}
NEXT = {
    "hub": "gift doctor        # can the models be fetched, is there memory and disk enough?",
    "data": "gift data status   # which data sets are there, which are missing?",
}


def use(preset: Preset, dry_run: DryRun = False, root: Root = ROOT) -> None:
    """Make a preset the active experiment: write it to params.yaml and show what changed.

    A params.yaml that you changed is kept as params.backup-1.yaml (or the next
    free number) beside it.
    """
    from gift_core.config import load_config
    from gift_core.presets import needs_of, plan_switch

    switch = plan_switch(root, preset)
    if not switch.changes:
        typer.echo(f"params.yaml is {switch.preset} already")
        return
    _show(switch.difference())
    if dry_run:
        typer.echo("--dry-run: nothing was written")
        return
    switch.carry_out()
    if switch.backup is not None:
        typer.echo(f"your changed params.yaml is kept as {switch.backup}")
    typer.echo(f"params.yaml is now {switch.preset}. Next:")
    for need in needs_of(load_config(switch.params)):
        if need in NEXT:
            typer.echo(f"  {NEXT[need]}")
    typer.echo("  dvc repro          # runs what is new or changed; --dry --force only lists the cells")


def _show(difference: Iterable[str]) -> None:
    for line in difference:
        typer.secho(line, fg=COLOURS.get(line[:1]))
