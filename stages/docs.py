"""docs [PAGE]: shows the guides that come with GIFT."""

from __future__ import annotations

import pydoc
import sys
from pathlib import Path
from typing import Annotated

import typer

Page = Annotated[
    str | None, typer.Argument(metavar="PAGE", help="A guide: memory, or docs/memory.md as messages have it.")
]


def docs(page: Page = None) -> None:
    """List the guides, or show one of them.

    Example: gift docs your_own_task
    """
    from gift_core.errors import lookup
    from gift_core.shipped import guides

    if page is None:
        for name, file in guides().items():
            typer.echo(f"{name:16} {_title(file)}")
        return
    text = lookup(guides(), Path(page).stem, "gift docs").read_text(encoding="utf-8")
    if sys.stdout.isatty():
        pydoc.pager(text)
    else:
        typer.echo(text)


def _title(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next(line for line in lines if line.startswith("#")).strip("# \n")
