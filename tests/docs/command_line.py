"""Writes the commands of docs/command_line.md from the help of `gift` itself: `python -m tests.docs.command_line`.

The rest of the page is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from stages.app import app
from tests.imports import ROOT

PAGE = ROOT / "docs" / "command_line.md"
BEGIN = "<!-- From here on, the page is written by `make command-line`. -->"


def reference() -> str:
    """The section of every command: usage, description, arguments and options, example."""
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
    context = command.make_context(name, [], resilient_parsing=True)
    params = [param for param in command.get_params(context) if "--help" not in param.opts]
    pieces = [piece for param in params for piece in param.get_usage_pieces(context)]
    about, _, example = command.help.partition("Example: ")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in about.strip().split("\n\n"))
    rows = [f"| {_name(param)} | {_text(param)} |" for param in params]
    usage = " ".join(["gift", name, *pieces, "[options]"])
    shown = f"\nExample: `{example.strip()}`\n" if example else ""
    return (
        f"### gift {name}\n\n`{usage}`\n\n{text}\n{shown}\n| argument or option | |\n|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.metavar}`"
    return " ".join(f"`{word}`" for word in [", ".join(param.opts), param.metavar.replace("|", " or ")] if word)


def _text(param: Any) -> str:
    default = "" if param.required or param.default in (None, False) or not param.show_default else param.default
    text = param.help.replace("<", "\\<").replace("*", "\\*").replace("|", " or ")
    value = getattr(default, "value", default)
    return f"{text}{' (required)' if param.required else ''}{f' (default: {value})' if value != '' else ''}"


def page() -> str:
    """The whole page, with what is written by hand as it is."""
    by_hand = PAGE.read_text(encoding="utf-8").split(BEGIN)[0]
    return f"{by_hand}{BEGIN}\n\n{reference()}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
