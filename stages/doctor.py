"""doctor: is everything there that the active experiment needs?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stages.stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.doctor.finding import Finding

Quick = Annotated[
    bool, typer.Option("--quick", help="params.yaml, data and local models alone; silent if all is well.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a list of findings as JSON.")]
COLOURS = {"ok": typer.colors.GREEN, "info": typer.colors.BLUE, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(quick: Quick = False, as_json: AsJson = False, root: Root = ROOT) -> None:
    """Check this machine and params.yaml: what is there, what is missing, and what to do about it.

    A line each; exit code 1 where one of them is a fail. Versions, devices,
    memory, disk, data sets, models, and DVC's remote.
    """
    from gift_core.doctor.examine import examine, examine_quickly

    findings = []
    for finding in (examine_quickly if quick else examine)(root):
        findings.append(finding)
        if not as_json and not (quick and finding.mark in ("ok", "info")):
            _show(finding)
    if as_json:
        _print_json(findings)
    if any(finding.mark == "fail" for finding in findings):
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    typer.secho(f"{finding.mark:4}", fg=COLOURS[finding.mark], bold=True, nl=False)
    what = finding.found if finding.found.endswith((".", "?")) else f"{finding.found}."
    typer.echo(f"  {finding.subject}: {what} {finding.remedy}".rstrip())


def _print_json(findings: list[Finding]) -> None:
    import dataclasses
    import json

    rows = [dataclasses.asdict(finding) for finding in findings]
    typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
