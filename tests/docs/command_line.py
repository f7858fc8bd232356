"""Writes the commands of docs/command_line.md from the help of `gift` itself: `python -m tests.docs.command_line`.

The rest of the page is written by hand.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import typer

from stages.app import app
from tests.imports import ROOT

WIDTH = 120
PAGE = ROOT / "docs" / "command_line.md"
BEGIN = "<!-- From here on, the page is written by `make command-line`. -->"


def reference() -> str:
    """The list of the commands: an example of each, and what it does. The stages are left out, since DVC runs them."""
    panels: dict[str, list[str]] = {}
    for name, command in commands():
        panel = getattr(command, "rich_help_panel", None)
        title = panel if isinstance(panel, str) else "Commands"
        panels.setdefault(title, []).append(_entry(name, command))
    panels.pop("Stages of dvc.yaml")
    return "\n".join(f"## {panel}\n\n" + "".join(entries) for panel, entries in panels.items())


def commands(group: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command as "data fetch", with what typer made of it."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


def _entry(name: str, command: Any) -> str:
    """The example and the first paragraph. The rest, with all arguments and options, is in `gift COMMAND -h`."""
    about, _, example = command.help.partition("Example: ")
    text = " ".join(about.strip().split("\n\n")[0].split()).replace("<", "\\<")
    head = f"- `{example.strip() or f'gift {name}'}`: "
    blank = "x" * len(head)  # the command is not broken
    wrapped = textwrap.wrap(blank + text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapped).replace(blank, head, 1) + "\n"


def page() -> str:
    """The whole page, with what is written by hand as it is."""
    by_hand = PAGE.read_text(encoding="utf-8").split(BEGIN)[0]
    return f"{by_hand}{BEGIN}\n\n{reference()}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
