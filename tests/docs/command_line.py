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
    """The section of every command: what it does, and an example."""
    group = typer.main.get_command(app)
    panels: dict[str, list[str]] = {}
    for name, command in _commands(group, ()):
        panel = getattr(command, "rich_help_panel", None)
        title = panel if isinstance(panel, str) else "Commands"
        panels.setdefault(title, []).append(_section(name, command))
    ordered = sorted(panels, key=lambda panel: panel == "Stages of dvc.yaml")  # the stages are run by DVC
    return "\n".join(f"## {panel}\n\n" + "\n".join(panels[panel]) for panel in ordered)


def _commands(group: Any, before: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


def _section(name: str, command: Any) -> str:
    """The first paragraph and the example. The rest, with all arguments and options, is in `gift COMMAND -h`."""
    about, _, example = command.help.partition("Example: ")
    text = " ".join(about.strip().split("\n\n")[0].split()).replace("<", "\\<")
    wrapped = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    shown = f"\n`{example.strip()}`" if example and example.strip() != f"gift {name}" else ""
    return "\n".join([f"### gift {name}", "", *wrapped, *shown.splitlines(), ""])


def page() -> str:
    """The whole page, with what is written by hand as it is."""
    by_hand = PAGE.read_text(encoding="utf-8").split(BEGIN)[0]
    return f"{by_hand}{BEGIN}\n\n{reference()}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
