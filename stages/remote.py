"""remote URL: sets where results are shared."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import AsJson, hint, print_json
from .stage import ROOT, Root

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="A folder, s3://, ssh://, gs://, azure://, http:// or https://", show_default=False
    ),
]


def remote(url: Url, as_json: AsJson = False, root: Root = ROOT) -> None:
    """Set where results are shared, and say whether it answers.

    It becomes DVC's default remote, and DVC checks the hash of every file that
    it pulls. Commit .dvc/config afterwards.

    Example: gift remote s3://bucket/gift
    """
    from gift_core.team.remotes import set_remote

    finding = set_remote(root, url)
    if as_json:
        record = {"url": url, "mark": finding.mark, "found": finding.found, "remedy": finding.remedy}
        print_json(record)
    else:
        typer.echo(finding.found)
        if finding.remedy:
            typer.echo(finding.remedy)
    if finding.mark == "fail":
        raise typer.Exit(1)
    if not as_json:
        hint("Next: git commit .dvc/config, then make share")
