"""Options and arguments that many commands have, and the file and folder that they name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gift_core.errors import lookup

SHARED = "Project and output"  # the panel of options that many commands have


def option(metavar: str, help: str, *names: str, default: Any = None, panel: str | None = None, **more: Any) -> Any:
    """Returns an option with a value, as the default of a parameter.

    `default` is `...` for one that has to be given, and inside an annotation. Without `names` its name is that of the
    parameter.
    """
    return typer.Option(default, *names, metavar=metavar, help=help, rich_help_panel=panel, **more)


def flag(name: str, help: str, *names: str, panel: str | None = None) -> Any:
    """Returns an option without a value, as the default value of a parameter."""
    return typer.Option(False, name, *names, help=help, rich_help_panel=panel)


def argument(metavar: str, help: str, *, default: Any = ..., **more: Any) -> Any:
    """Returns an argument, as the default value of a parameter, or without a default in its annotation."""
    return typer.Argument(default, metavar=metavar, help=help, **more)


Task = Annotated[str, typer.Argument(help="A task in the sequence of params.yaml.", show_default=False)]
Method = Annotated[str, typer.Argument(help="A method in run.methods of params.yaml.", show_default=False)]
ShippedMethod = Annotated[
    str | None,
    option(
        "METHOD", "The method, if run.methods has several besides references such as finetune and joint.", default=...
    ),
]
Params = Annotated[Path, option("FILE", "The experiment to read.", panel=SHARED, default=...)]


PROJECT = "The project: the folder with data/ and reports/."
Root = Annotated[Path, option("FOLDER", PROJECT, exists=True, file_okay=False, panel=SHARED, default=...)]
PARAMS = Path("params.yaml")
ROOT = Path()
MOST = 10_000_000  # of a whole number in an option, as in params.yaml


def params_of(params: Path, root: Path) -> Path:
    """Returns the params file of a command: that of the project in `root`, unless --params names another one."""
    return root / PARAMS if params == PARAMS else params


def chosen_names(text: str | None, known: Sequence[str], option: str) -> list[str]:
    """Returns the names in the text of an option, all that are known without one. UserError for one that is not."""
    if not text:
        return [*known]
    return [lookup({name: name for name in known}, name, option) for name in text.split(",")]


def require_project(root: Path) -> None:
    """Raises UserError unless the folder has a params.yaml that can be read."""
    from gift_core.config.loading import read_settings

    read_settings(root / PARAMS)
