"""presets: the whole params files that `gift use` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from stages.stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.presets import Summary

FEW_METHODS = 4


def presets(root: Root = ROOT) -> None:
    """List the presets: what each is, its tasks, training steps, methods, and what it needs."""
    from gift_core.presets import find_presets, summarize

    files = find_presets(root)
    params = root / "params.yaml"
    active = params.read_bytes() if params.is_file() else b""
    width = max(map(len, files)) + 2
    for name, file in files.items():
        is_active = file.read_bytes() == active
        typer.secho(f"{name + (' *' if is_active else ''):{width}}", nl=False, bold=True)
        summary = summarize(file)
        typer.echo(f"  {_size(summary)}\n    {summary.title}")
    typer.echo("\n* is what params.yaml holds. `gift use NAME` makes another one the active experiment.")


def _size(summary: Summary) -> str:
    """Tasks, steps, methods and needs in a line."""
    few = len(summary.methods) <= FEW_METHODS
    methods = ", ".join(summary.methods) if few else f"{len(summary.methods)} methods"
    tasks = f"{summary.tasks} task{'s' if summary.tasks > 1 else ''}"
    return f"{tasks} x {summary.steps} steps; {methods}; needs {', '.join(summary.needs) or 'nothing more'}"
