"""remote URL: sets where results are shared."""

from __future__ import annotations

from typing import Annotated

import typer

from .stage import ROOT, Root

Url = Annotated[
    str, typer.Argument(help="A folder, s3://, ssh://, gs://, azure://, http:// or https://", show_default=False)
]


def remote(url: Url, root: Root = ROOT) -> None:
    """Set where results are shared, and say whether it answers.

    It becomes DVC's default remote, and DVC checks the hash of every file that
    it pulls. Commit .dvc/config afterwards.
    """
    from gift_core.team.remotes import set_remote

    finding = set_remote(root, url)
    typer.echo(finding.found)
    if finding.remedy:
        typer.echo(finding.remedy)
    if finding.mark == "fail":
        raise typer.Exit(1)
    typer.echo("Next: git commit .dvc/config, then make share")
