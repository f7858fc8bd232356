"""merge-lock: merges two versions of dvc.lock stage by stage, as a merge driver of git or after a conflict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.team.lock_merge import MergedLock

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE", help="BASE OURS THEIRS, as git gives them to a merge driver.", show_default=False),
]
ALWAYS_RUN = ("check", "report")  # they read params.yaml, which both sides changed
SHOWN = 6


def merge_lock(files: Files = None, root: Root = ROOT) -> None:
    """Merge two versions of dvc.lock: the stages of both sides.

    Without files, it resolves the conflict that `git merge` left in dvc.lock and
    reports/metrics.json. `make setup` makes it git's merge driver for dvc.lock,
    so that there is no conflict.

    Example: gift merge-lock
    """
    from gift_core.team.lock_merge import merge_files, resolve_in_git

    if files is None:
        merge, rest = resolve_in_git(root)
        _say(merge)
        for name in rest:
            typer.echo(f"{name} is still in conflict. Edit it, then: git add {name}", err=True)
        typer.echo("Next: git commit, then dvc repro --pull", err=True)
    elif len(files) == 3:
        _say(merge_files(*files))
    else:
        raise typer.BadParameter(f"expected BASE OURS THEIRS or no file, got {len(files)}")


def _say(merge: MergedLock) -> None:
    both = [name for name in merge.both if name not in ALWAYS_RUN]
    typer.echo(f"dvc.lock: {merge.stages} stages of both sides; `dvc repro --pull` runs what does not fit", err=True)
    if both:
        more = f" and {len(both) - SHOWN} more" if len(both) > SHOWN else ""
        names = f"{', '.join(both[:SHOWN])}{more}"
        typer.echo(f"dvc.lock: both sides changed {names}: kept as on this branch", err=True)
