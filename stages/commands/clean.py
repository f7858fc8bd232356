"""clean: shows the unfinished work of interrupted stages and the features that evaluate keeps, and removes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import duration

from ..command_line import AsJson, hint, print_json
from ..stage import PARAMS, ROOT, Root, flag, require_params

FEATURES = "features"
RESUMED = ("synthesize", "teach", "finetune", "evaluate", "probe", "search", "fetch", FEATURES)
Yes = Annotated[bool, flag("--yes", "Remove it without asking.")]


class Work(NamedTuple):
    """What an interrupted or running stage keeps in `folder`, for one setting. Two settings are two works.

    `owner` is a sentence about the running stage, else empty.
    """

    title: str
    folder: Path
    size: int
    seconds_old: float
    owner: str


def clean(yes: Yes = False, as_json: AsJson = False, root: Root = ROOT) -> None:
    """Show what interrupted stages left in .gift, with age and size, and remove it. Work of a running stage stays.

    Also the features that evaluate keeps for later steps.

    It asks before it removes anything. With --json it does not ask, and removes
    something only if --yes is given.

    Example: gift clean --yes
    """
    from gift_core.work.folder import owner_of, remove_work, unfinished_works

    if not Layout(root).timings().parent.is_dir():
        require_params(root / PARAMS)
    works = []  # of each stage instance, of the newest settings first
    for stage in RESUMED:
        for folder in sorted(Layout(root).work(stage, "any").parent.glob("*")):
            kept = unfinished_works(folder)
            owner = owner_of(folder) if kept else ""
            for each in reversed(kept):
                age = max(0.0, time.time() - each.changed_at)
                works.append(Work(f"{stage}@{folder.name}", folder, each.size, age, owner))
    idle, running = [work for work in works if not work.owner], {work.folder for work in works if work.owner}
    size = sum(work.size for work in idle) / 1e6
    for work in () if as_json else works:
        owner = work.owner or ("kept for later steps" if work.title.startswith(FEATURES) else "interrupted")
        typer.echo(f"{work.title:<28} {duration(work.seconds_old):>12} {work.size / 1e6:>10,.1f} MB  {owner}")
    question = f"Remove the work of {len(idle)} runs ({size:,.1f} MB)?"
    removes = yes or (not as_json and bool(idle) and typer.confirm(question))
    for folder in dict.fromkeys(work.folder for work in idle) if removes else ():
        remove_work(folder)
    if as_json:
        records = [
            {"stage": work.title, "bytes": work.size, "seconds_old": round(work.seconds_old), "owner": work.owner}
            for work in works
        ]
        print_json({"works": records, "removed": yes})
    elif not works:
        typer.echo("no unfinished work")
    elif idle and removes:
        typer.echo(f"removed {size:,.1f} MB")
    else:
        hint("nothing was removed")
    if running and (yes or not as_json):
        raise UserError(f"{len(running)} stages are running, so their work stays. Stop them first.")
