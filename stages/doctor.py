"""doctor: checks that everything the active experiment needs is available."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.doctor.finding import Finding

Quick = Annotated[
    bool, typer.Option("--quick", help="Check only params.yaml, data and local models. Print only problems.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a list of findings as JSON.")]
COLORS = {"ok": typer.colors.GREEN, "info": typer.colors.BLUE, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(quick: Quick = False, as_json: AsJson = False, root: Root = ROOT) -> None:
    """Check this machine and params.yaml, and say what is missing and what to do about it.

    Checks versions, devices, memory, disk space, data sets, models and the DVC
    remote. Exits with code 1 if a check fails.
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
    typer.secho(f"{finding.mark:4}", fg=COLORS[finding.mark], bold=True, nl=False)
    what = finding.found if finding.found.endswith((".", "?")) else f"{finding.found}."
    typer.echo(f"  {finding.subject}: {what} {finding.remedy}".rstrip())


def _print_json(findings: list[Finding]) -> None:
    import dataclasses
    import json

    rows = [dataclasses.asdict(finding) for finding in findings]
    typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
