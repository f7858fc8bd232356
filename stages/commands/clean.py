"""clean: shows the unfinished work of interrupted stages and the features that evaluate keeps, and removes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import duration

from ..command_line import AsJson, hint, print_json
from ..stage import PARAMS, ROOT, Root, require_params

FEATURES = "features"
RESUMED = ("synthesize", "teach", "finetune", "evaluate", "probe", "search", "fetch", FEATURES)
Yes = Annotated[bool, typer.Option("--yes", help="Remove it without asking.")]


@dataclass(frozen=True)
class Work:
    """What an interrupted or running stage keeps in `folder`, for one setting. Two settings are two works.

    `owner` is a sentence about the running stage, else empty.
    """

    title: str
    folder: Path
    size: int
    seconds_old: float
    owner: str

    @property
    def line(self) -> str:
        """One row of the table."""
        owner = self.owner or ("kept for later steps" if self.title.startswith(FEATURES) else "interrupted")
        return f"{self.title:<28} {duration(self.seconds_old):>12} {self.size / 1e6:>10,.1f} MB  {owner}"

    @property
    def record(self) -> dict[str, object]:
        """The row as --json has it."""
        age = round(self.seconds_old)
        return {"stage": self.title, "bytes": self.size, "seconds_old": age, "owner": self.owner}


def clean(yes: Yes = False, as_json: AsJson = False, root: Root = ROOT) -> None:
    """Show what interrupted stages left in .gift, with age and size, and remove it. Work of a running stage stays.

    Also the features that evaluate keeps for later steps.

    It asks before it removes anything. With --json it does not ask, and removes
    something only if --yes is given.

    Example: gift clean --yes
    """
    if not Layout(root).timings().parent.is_dir():
        require_params(root / PARAMS)
    works = list(_works(Layout(root)))
    if as_json:
        _remove(works if yes else [])
        print_json({"works": [work.record for work in works], "removed": yes})
        _require_idle(works if yes else [])
        return
    if not works:
        typer.echo("no unfinished work")
        return
    for work in works:
        typer.echo(work.line)
    unowned = [work for work in works if not work.owner]
    size = sum(work.size for work in unowned) / 1e6
    if not unowned or not (yes or typer.confirm(f"Remove the work of {len(unowned)} runs ({size:,.1f} MB)?")):
        hint("nothing was removed")
    else:
        _remove(works)
        typer.echo(f"removed {size:,.1f} MB")
    _require_idle(works)


def _remove(works: list[Work]) -> None:
    """Removes the work of the stages that do not run."""
    from gift_core.work.folder import remove_work

    for folder in dict.fromkeys(work.folder for work in works if not work.owner):
        remove_work(folder)


def _require_idle(works: list[Work]) -> None:
    running = len({work.folder for work in works if work.owner})
    if running:
        raise UserError(f"{running} stages are running, so their work stays. Stop them first.")


def _works(layout: Layout) -> Iterator[Work]:
    """Yields the work that each stage instance keeps, of the newest settings first."""
    from gift_core.work.folder import owner_of, unfinished_works

    for stage in RESUMED:
        for folder in sorted(layout.work(stage, "any").parent.glob("*")):
            kept = unfinished_works(folder)
            owner = owner_of(folder) if kept else ""
            for work in reversed(kept):
                age = max(0.0, time.time() - work.changed_at)
                yield Work(f"{stage}@{folder.name}", folder, work.size, age, owner)
