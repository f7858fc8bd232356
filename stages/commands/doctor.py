"""doctor, clean: what this machine lacks for the active experiment, and what interrupted stages left on it."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gift_core.errors import UserError, lookup
from gift_core.layout import Layout
from gift_core.quantities import byte_size, duration
from gift_core.stage_facts import STAGES

from ..command_line import AsJson, hint, name_guides, print_json
from ..options import ROOT, Root, flag, option, require_project

if TYPE_CHECKING:
    from gift_core.doctor.finding import Finding

COLORS = {"ok": typer.colors.GREEN, "info": typer.colors.BLUE, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(
    quick: bool = flag("--quick", "Check only params.yaml, data and local models. Print only problems."),
    times: bool = flag("--time", "Print only how long each stage type takes, by the last rehearsal."),
    preset: str | None = option(
        "PRESET", "Check this preset (`gift presets` lists them) in place of params.yaml, without switching to it."
    ),
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Check this machine and params.yaml, and say what is missing and what to do about it.

    Checks versions, devices, data sets, models and the DVC remote. What it says of
    memory, disk space and run time was measured by `gift rehearse`. Exits with code
    1 if a check fails.

    Example: gift doctor --preset mtil_order_1
    """
    from gift_core.config.presets import find_presets
    from gift_core.doctor.examine import TIME, examine, examine_experiment, summarize

    file = lookup(find_presets(root), preset, "gift doctor: presets") if preset else None
    findings: list[Finding] = []
    shown: list[Finding] = []
    checked = examine(root, file, quick=quick)
    if times:  # and why there are none
        of_time = examine_experiment(root, file, {TIME})
        checked = (finding for finding in of_time if finding.group == TIME or finding.mark == "fail")
    for finding in checked:
        findings.append(finding)
        if not as_json and not (quick and not times and finding.mark in ("ok", "info")):
            if not shown or finding.group != shown[-1].group:
                typer.secho(finding.group, bold=True)
            typer.secho(f"  {finding.mark:4}", fg=COLORS[finding.mark], bold=True, nl=False)
            typer.echo(f"  {finding.subject}: {name_guides(finding.sentence)}")
            shown.append(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    elif shown and not times:
        counts, first = summarize(findings)
        typer.secho(counts, bold=True)
        if not first:
            hint(f"Next: {f'gift use {preset}' if preset else 'dvc repro'}")
        elif len(shown) > 1:  # one line need not be repeated
            typer.echo(f"first: {name_guides(first)}")
    if any(finding.mark == "fail" for finding in findings):
        raise typer.Exit(1)


FEATURES = "features"
COMMANDS = ("search", "release", "fetch")  # that continue interrupted work, as the stages do that compute


def clean(yes: bool = flag("--yes", "Remove it without asking."), as_json: AsJson = False, root: Root = ROOT) -> None:
    """Show what interrupted stages left in .gift, with age and size, and remove it. Work of a running stage stays.

    Also the features that evaluate keeps for later steps.

    It asks before it removes anything. With --json it does not ask, and removes
    something only if --yes is given.

    Example: gift clean --yes
    """
    from gift_core.work.folder import owner_of, remove_work, unfinished_works

    if not Layout(root).timings().parent.is_dir():
        require_project(root)
    records = list[dict[str, Any]]()
    idle, running = set[Path](), set[Path]()
    computing = (stage for stage, facts in STAGES.items() if facts.computes)
    for stage in (*computing, *COMMANDS, FEATURES):
        for folder in sorted(Layout(root).work(stage, "any").parent.glob("*")):
            kept = unfinished_works(folder)
            owner = owner_of(folder) if kept else ""
            for unfinished in reversed(kept):  # the newest settings first
                (running if owner else idle).add(folder)
                age = round(max(0.0, time.time() - unfinished.changed_at))
                record = {"bytes": unfinished.size, "seconds_old": age, "owner": owner}
                records.append({"stage": f"{stage}@{folder.name}", **record})
                if not as_json:
                    state = "kept for later steps" if stage == FEATURES else "interrupted"
                    age_and_size = f"{duration(age):>12} {byte_size(unfinished.size):>10}"
                    typer.echo(f"{records[-1]['stage']:<28} {age_and_size}  {owner or state}")
    sizes = [record["bytes"] for record in records if not record["owner"]]
    question = f"Remove the work of {len(sizes)} runs ({byte_size(sum(sizes))})?"
    removes = yes or (not as_json and bool(idle) and typer.confirm(question))
    for folder in idle if removes else ():
        remove_work(folder)
    if as_json:
        print_json({"works": records, "removed": yes})
    elif not records:
        typer.echo("no unfinished work")
    else:
        typer.echo(f"removed {byte_size(sum(sizes))}" if idle and removes else "nothing was removed")
    if running and (yes or not as_json):
        raise UserError(f"{len(running)} stages are running, so their work stays. Stop them first.")
