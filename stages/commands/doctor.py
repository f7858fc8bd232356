"""doctor: checks that everything the active experiment needs is available."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from gift_core.errors import lookup

from ..command_line import AsJson, hint, name_guides, print_json
from ..completion import complete_preset
from ..stage import ROOT, Root, flag, option

if TYPE_CHECKING:
    from gift_core.doctor.finding import Finding

Quick = Annotated[bool, flag("--quick", "Check only params.yaml, data and local models. Print only problems.")]
Time = Annotated[bool, flag("--time", "Print only how long each stage type takes here, and on a GPU of 100 TFLOP/s.")]
Preset = Annotated[
    str | None,
    option(
        "PRESET",
        "Check this preset (`gift presets` lists them) in place of params.yaml, without switching to it.",
        autocompletion=complete_preset,
    ),
]
COLORS = {"ok": typer.colors.GREEN, "info": typer.colors.BLUE, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(
    quick: Quick = False, time: Time = False, preset: Preset = None, as_json: AsJson = False, root: Root = ROOT
) -> None:
    """Check this machine and params.yaml, and say what is missing and what to do about it.

    Checks versions, devices, memory, disk space, run time, data sets, models and
    the DVC remote. Exits with code 1 if a check fails.

    Example: gift doctor --preset mtil_order_1
    """
    from gift_core.config.presets import find_presets
    from gift_core.doctor.examine import examine, examine_quickly, examine_time, summarize

    file = lookup(find_presets(root), preset, "gift doctor: presets") if preset else None
    findings: list[Finding] = []
    shown: list[Finding] = []
    for finding in (examine_time if time else examine_quickly if quick else examine)(root, file):
        findings.append(finding)
        if not as_json and not (quick and not time and finding.mark in ("ok", "info")):
            if not shown or finding.group != shown[-1].group:
                typer.secho(finding.group, bold=True)
            typer.secho(f"  {finding.mark:4}", fg=COLORS[finding.mark], bold=True, nl=False)
            typer.echo(f"  {finding.subject}: {name_guides(finding.sentence)}")
            shown.append(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    elif shown and not time:
        counts, first = summarize(findings)
        typer.secho(counts, bold=True)
        if not first:
            hint(f"Next: {f'gift use {preset}' if preset else 'dvc repro'}")
        elif len(shown) > 1:  # one line need not be repeated
            typer.echo(f"first: {name_guides(first)}")
    if any(finding.mark == "fail" for finding in findings):
        raise typer.Exit(1)
