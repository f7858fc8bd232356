"""presets: lists the experiments that `gift use` can write to params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.presets import Summary

FEW_METHODS = 4


def presets(root: Root = ROOT) -> None:
    """List the presets with their tasks, iterations, methods and needs."""
    from gift_core.config.overlays import complete_text
    from gift_core.presets import find_presets, summarize

    files = find_presets(root)
    params = root / "params.yaml"
    active = params.read_bytes() if params.is_file() else b""
    width = max(map(len, files)) + 2
    for name, file in files.items():
        is_active = complete_text(file).encode() == active
        typer.secho(f"{name + (' *' if is_active else ''):{width}}", nl=False, bold=True)
        summary = summarize(file)
        typer.echo(f"  {_size(summary)}\n    {summary.title}")
    typer.echo("\n* is the active experiment (params.yaml). `gift use NAME` switches to another one.")


def _size(summary: Summary) -> str:
    """Returns the tasks, iterations, methods and needs in one line."""
    few = len(summary.methods) <= FEW_METHODS
    methods = ", ".join(summary.methods) if few else f"{len(summary.methods)} methods"
    tasks = f"{summary.tasks} task{'s' if summary.tasks > 1 else ''}"
    return f"{tasks} x {summary.iterations} iterations; {methods}; needs {', '.join(summary.needs) or 'nothing else'}"
