"""clean: shows the unfinished work of interrupted stages and the features that evaluate keeps, and removes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import byte_size, duration

from ..command_line import AsJson, print_json
from ..stage import PARAMS, ROOT, Root, flag, require_params

FEATURES = "features"
RESUMED = ("synthesize", "teach", "finetune", "evaluate", "probe", "search", "fetch", FEATURES)
Yes = Annotated[bool, flag("--yes", "Remove it without asking.")]


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
    works: list[tuple[dict[str, Any], Path]] = []  # what JSON has of a work, the newest settings first; its folder
    for stage in RESUMED:
        for folder in sorted(Layout(root).work(stage, "any").parent.glob("*")):
            kept = unfinished_works(folder)
            owner = owner_of(folder) if kept else ""
            for each in reversed(kept):
                age = round(max(0.0, time.time() - each.changed_at))
                title = f"{stage}@{folder.name}"
                works.append(({"stage": title, "bytes": each.size, "seconds_old": age, "owner": owner}, folder))
    idle = [(record, folder) for record, folder in works if not record["owner"]]
    running = {folder for record, folder in works if record["owner"]}
    size = byte_size(sum(record["bytes"] for record, _ in idle))
    for record, _ in () if as_json else works:
        what = "kept for later steps" if record["stage"].startswith(FEATURES) else "interrupted"
        age_and_size = f"{duration(record['seconds_old']):>12} {byte_size(record['bytes']):>10}"
        typer.echo(f"{record['stage']:<28} {age_and_size}  {record['owner'] or what}")
    question = f"Remove the work of {len(idle)} runs ({size})?"
    removes = yes or (not as_json and bool(idle) and typer.confirm(question))
    for folder in {folder for _, folder in idle} if removes else ():
        remove_work(folder)
    if as_json:
        print_json({"works": [record for record, _ in works], "removed": yes})
    elif not works:
        typer.echo("no unfinished work")
    else:
        typer.echo(f"removed {size}" if idle and removes else "nothing was removed")
    if running and (yes or not as_json):
        raise UserError(f"{len(running)} stages are running, so their work stays. Stop them first.")
