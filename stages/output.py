"""Where the commands print: the options --json, --dry-run and --quiet.

With --json, stdout has one JSON document and nothing else. An error is text on stderr, and the exit code is 1.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from gift_core.progress import is_quiet

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document (docs/command_line.md).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show everything, but write nothing.")]
WIDTH = 100
COLORS = {"+": typer.colors.GREEN, "-": typer.colors.RED}  # of the lines of a difference


def name_guides(message: str) -> str:
    """Returns the message with `gift docs memory` for docs/memory.md, where the working folder has no such file."""
    return re.sub(
        r"docs/(\w+)\.md", lambda page: page[0] if Path(page[0]).is_file() else f"`gift docs {page[1]}`", message
    )


def print_json(result: Any) -> None:
    """Prints the one JSON document of a command on stdout. Paths become texts."""
    import json

    typer.echo(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False, default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return os.fspath(value)
    raise TypeError(f"{value!r} is no JSON")


def hint(message: str, **style: Any) -> None:
    """Prints a line that is no result: what comes next, what a line means. Not with --quiet."""
    if not is_quiet():
        typer.secho(message, **style)


def note(message: str) -> None:
    """Prints a line on stderr, beside the result. Not with --quiet."""
    if not is_quiet():
        typer.echo(message, err=True)


def print_next_stages(change: str, stages: Iterable[str]) -> None:
    """Prints a change of params.yaml, and which stages `dvc repro` runs for it."""
    hint(f"{change} Next: dvc repro, which runs")
    print_names(stages)


def print_names(names: Iterable[object]) -> None:
    """Prints names in indented lines. Not with --quiet."""
    lines = textwrap.fill(", ".join(map(str, names)), WIDTH, break_long_words=False, break_on_hyphens=False)
    hint(textwrap.indent(lines, "  "))


def print_difference(lines: list[str]) -> None:
    """Prints the lines of a unified difference, with color on a terminal."""
    for line in lines:
        typer.secho(line, fg=COLORS.get(line[:1]))
