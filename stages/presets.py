"""presets: lists the experiments that `gift use` can write to params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .output import AsJson, hint, print_json
from .stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.presets import Origin, Summary

FEW_METHODS = 4


def presets(as_json: AsJson = False, root: Root = ROOT) -> None:
    """List the presets with their tasks, iterations, methods and needs, and mark the active one.

    If params.yaml differs from the preset that it was made from, the number of
    changed keys is shown.

    Example: gift presets
    """
    from gift_core.presets import find_presets, origin_of, summarize

    files = find_presets(root)
    origin = origin_of(root / "params.yaml", files)
    summaries = [summarize(file) for file in files.values()]
    if as_json:
        print_json([_record(summary, origin) for summary in summaries])
        return
    width = max(len(_head(summary.name, origin)) for summary in summaries)
    for summary in summaries:
        typer.secho(f"{_head(summary.name, origin):{width}}", nl=False, bold=True)
        typer.echo(f"  {size_of(summary)}\n    {summary.title}")
    hint(f"\n{_explanation(origin)} `gift use NAME` switches to another one.")


def size_of(summary: Summary) -> str:
    """Returns the tasks, iterations, methods and needs in one line."""
    few = len(summary.methods) <= FEW_METHODS
    methods = ", ".join(summary.methods) if few else f"{len(summary.methods)} methods"
    tasks = f"{summary.tasks} task{'s' if summary.tasks > 1 else ''} x" if summary.tasks else "no task yet,"
    return f"{tasks} {summary.iterations} iterations; {methods}; needs {', '.join(summary.needs) or 'nothing else'}"


def _record(summary: Summary, origin: Origin | None) -> dict[str, object]:
    active = origin is not None and origin.preset == summary.name
    return {
        "name": summary.name,
        "title": summary.title,
        "tasks": summary.tasks,
        "iterations": summary.iterations,
        "methods": summary.methods,
        "needs": summary.needs,
        "active": active,
        "changed_keys": list(origin.changed) if origin and active else [],
    }


def _head(name: str, origin: Origin | None) -> str:
    """The name, with a star where it is the active one, and how many keys differ."""
    if origin is None or origin.preset != name:
        return name
    if origin.same:
        return f"{name} *"
    count = len(origin.changed)
    changed = f"{count} key{'s' if count > 1 else ''}" if count else "only comments or the layout"
    return f"{name} *, changed: {changed}"


def _explanation(origin: Origin | None) -> str:
    if origin is None:
        return "params.yaml is missing, or it cannot be read."
    if origin.preset is None:
        count = len(origin.changed)
        differ = f"{count} key{' differs' if count == 1 else 's differ'}"
        what = f"the nearest preset is {origin.nearest}, from which {differ}"
        return f"params.yaml is an experiment of your own: {what}."
    return "* is the active experiment (params.yaml)."
