"""presets, use PRESET: the experiments that come with GIFT, and which one params.yaml has."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gift_core.errors import GiftError
from gift_core.quantities import plural

from ..command_line import AsJson, DryRun, hint, print_difference, print_json
from ..completion import complete_preset
from ..stage import ROOT, Root, argument, flag

if TYPE_CHECKING:
    from gift_core.config.presets import Summary

FEW_METHODS = 4


def presets(as_json: AsJson = False, root: Root = ROOT) -> None:
    """List the presets with their tasks, iterations, methods and needs, and mark the active one.

    If params.yaml differs from the preset that it was made from, the number of
    changed lines is shown.

    Example: gift presets
    """
    from gift_core.config.presets import find_presets, origin_of, summarize

    files = find_presets(root)
    origin = origin_of(root / "params.yaml", files)
    summaries = [summarize(file) for file in files.values()]
    active, changed = (origin.preset, origin.changed_lines) if origin else (None, 0)
    if as_json:
        more = [{"active": each.name == active, "changed_lines": changed * (each.name == active)} for each in summaries]
        print_json([{**asdict(each), **own} for each, own in zip(summaries, more, strict=True)])
        return
    mark = f" *, {plural(changed, 'line')} changed" if changed else " *"
    heads = [f"{each.name}{mark if each.name == active else ''}" for each in summaries]
    for head, summary in zip(heads, summaries, strict=True):
        typer.secho(head.ljust(max(map(len, heads))), nl=False, bold=True)
        typer.echo(f"  {size_of(summary)}\n    {summary.title}")
    about = "* is the active experiment (params.yaml)." if active else "params.yaml is an experiment of your own."
    about = about if origin else "params.yaml is missing, or it cannot be read."
    hint(f"\n{about} `gift use NAME` switches to another one.")


def size_of(summary: Summary) -> str:
    """Returns the tasks, iterations, methods and needs in one line."""
    few = len(summary.methods) <= FEW_METHODS
    methods = ", ".join(summary.methods) if few else f"{len(summary.methods)} methods"
    tasks = f"{plural(summary.tasks, 'task')} x" if summary.tasks else "no task yet,"
    return f"{tasks} {summary.iterations} iterations; {methods}; needs {', '.join(summary.needs) or 'nothing else'}"


Preset = Annotated[str, argument("PRESET", "A name that `gift presets` lists.", autocompletion=complete_preset)]
Diff = Annotated[bool, flag("--diff", "Print all changes, line by line.")]


def use(
    preset: Preset, dry_run: DryRun = False, diff: Diff = False, as_json: AsJson = False, root: Root = ROOT
) -> None:
    """Make a preset the active experiment: write it to params.yaml.

    A params.yaml that you changed is kept as params.backup-1.yaml (or the next
    free number).

    Example: gift use mtil_order_1 --dry-run --diff
    """
    from gift_core.config.checks import ADD_TASK
    from gift_core.config.presets import plan_switch, summarize

    switch = plan_switch(root, preset)
    summary = summarize(switch.preset)
    checks = ["gift doctor", "gift data status"] if summary.needs else []
    commands = [*([] if summary.tasks else [ADD_TASK]), *checks, "dvc repro"]
    if switch.changes and not dry_run:
        switch.carry_out()
    if as_json:
        print_json({
            "preset": summary.name, "written": switch.changes and not dry_run, "backup": switch.backup,
            "next": commands, **({"difference": switch.difference()} if diff else {}),
        })  # fmt: skip
        return
    if not switch.changes:
        typer.echo(f"params.yaml is already the preset {preset}")
        return
    if diff:
        print_difference(switch.difference())
    typer.echo(f"params.yaml {'would be' if dry_run else 'is now'} the preset {summary.name}: {summary.title}")
    typer.echo(f"  {size_of(summary)}\n  Time: {_time_of(root, switch.preset)}")
    if switch.backup is not None:
        typer.echo(f"Your changed params.yaml {'would be' if dry_run else 'is'} kept as {switch.backup}")
    if dry_run:
        typer.echo("--dry-run: nothing was written")
        return
    hint(f"Next: {', then '.join(commands)}")


def _time_of(root: Path, preset: Path) -> str:
    """How long the experiment takes, or why that is not known. Measures the CPU for a fraction of a second."""
    from gift_core.config.presets import load_preset
    from gift_core.doctor.finding import Project
    from gift_core.doctor.stage_work import count_work
    from gift_core.doctor.time_estimate import estimate_time

    try:
        project = Project(root, load_preset(preset), counts=False)
        if count_work(project).unknown:  # counting imports torch, which takes seconds
            return "gift doctor --time"
        estimate = estimate_time(project)
    except GiftError as error:  # a device that is not here, a damaged model: `gift doctor` says more
        return f"not known: {error}"
    advice = "too long for a CPU (`gift doctor` says what to do): " if estimate.is_too_long else ""
    return f"{advice}about {estimate.sentence}"
