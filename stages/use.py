"""use PRESET: writes a preset to params.yaml and keeps a backup of your changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .stage import ROOT, Root

if TYPE_CHECKING:
    from collections.abc import Iterable

Preset = Annotated[str, typer.Argument(help="A name that `gift presets` lists.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change without writing anything.")]
COLORS = {"+": typer.colors.GREEN, "-": typer.colors.RED}
NEXT = {
    "hub": "gift doctor        # checks that the models can be downloaded and that memory and disk suffice",
    "data": "gift data status   # lists the data sets that are present or missing",
}


def use(preset: Preset, dry_run: DryRun = False, root: Root = ROOT) -> None:
    """Make a preset the active experiment: write it to params.yaml and show what changes.

    A params.yaml that you changed is kept as params.backup-1.yaml (or the next
    free number).
    """
    from gift_core.presets import load_preset, needs_of, plan_switch

    switch = plan_switch(root, preset)
    if not switch.changes:
        typer.echo(f"params.yaml is already the preset {preset}")
        return
    _show(switch.difference())
    if dry_run:
        typer.echo("--dry-run: nothing was written")
        return
    switch.carry_out()
    if switch.backup is not None:
        typer.echo(f"Your changed params.yaml is kept as {switch.backup}")
    typer.echo(f"params.yaml is now the preset {preset}. Next:")
    for need in needs_of(load_preset(switch.preset)):
        if need in NEXT:
            typer.echo(f"  {NEXT[need]}")
    typer.echo("  dvc repro          # runs what is new or changed; --dry --force only lists the stages")


def _show(difference: Iterable[str]) -> None:
    for line in difference:
        typer.secho(line, fg=COLORS.get(line[:1]))
