"""use PRESET: presets/PRESET.yaml becomes params.yaml, a changed one is kept beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages.cells import ROOT, Root

Preset = Annotated[str, typer.Argument(help="A file of presets/, without .yaml.", show_default=False)]


def use(preset: Preset, root: Root = ROOT) -> None:
    """Make a preset the active experiment: write it to params.yaml and show what changed."""
    from gift_core.artifacts.atomic import write_atomically
    from gift_core.config import load_config
    from gift_core.errors import lookup

    presets = {file.stem: file for file in sorted((root / "presets").glob("*.yaml"))}
    chosen = lookup(presets, preset, "gift use: presets")
    load_config(chosen)
    params = root / "params.yaml"
    before = params.read_text(encoding="utf-8") if params.is_file() else ""
    after = chosen.read_text(encoding="utf-8")
    if before == after:
        typer.echo(f"params.yaml is {chosen} already")
        return
    if before and before not in {file.read_text(encoding="utf-8") for file in presets.values()}:
        typer.echo(f"your changed params.yaml is kept as {_keep(params)}")
    with write_atomically(params) as unfinished:
        unfinished.write_text(after, encoding="utf-8")
    _show_difference(before, after)


def _keep(params: Path) -> Path:
    """Renames params.yaml to the first free params.backup-N.yaml."""
    number = 1
    while (backup := params.with_name(f"params.backup-{number}.yaml")).exists():
        number += 1
    return params.rename(backup)


def _show_difference(before: str, after: str) -> None:
    import difflib

    colours = {"+": typer.colors.GREEN, "-": typer.colors.RED}
    for line in difflib.unified_diff(
        before.splitlines(), after.splitlines(), "params.yaml", "preset", n=1, lineterm=""
    ):
        typer.secho(line, fg=colours.get(line[:1]))
