"""The look of all commands: their help, their errors, and the options of `gift` itself."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from gift_core import os_errors
from gift_core.errors import GiftError
from gift_core.progress import QUIET

from .interruption import interruptible
from .output import name_guides

DISTRIBUTION = "gift-pipeline"
HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class GiftCommand(TyperCommand):
    """A command whose help names what a value means, not its type in Python."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _named_by_meaning(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        several = {option for param in self.params if "..." in (param.metavar or "") for option in param.opts}
        return super().parse_args(ctx, list(_repeated(args, several)))


class CommandGroup(TyperGroup):
    """A group of such commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _named_by_meaning(super().get_params(ctx))


class GiftGroup(CommandGroup):
    """Prints the errors of the library and of the operating system as one message and exits with 1.

    Only bugs show a traceback. In a folder without params.yaml, the help says how to make a project.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        if not Path("params.yaml").is_file():
            typer.echo(" This folder has no params.yaml. To make a project: gift init DIR\n")

    def invoke(self, ctx: Any) -> Any:
        try:
            with interruptible():
                return super().invoke(ctx)
        except Exception as error:
            shown = os_errors.explain(error, doing=f"gift {ctx.invoked_subcommand}") or error
            if not isinstance(shown, GiftError):
                raise
            typer.secho(f"error: {name_guides(str(shown))}", fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt as interruption:
            with suppress(OSError):  # the terminal may be closed
                typer.secho(" ".join(map(str, (*interruption.args, "Run it again."))), err=True)
            raise typer.Exit(getattr(interruption, "exit_code", 130)) from None


def _repeated(args: list[str], several: set[str]) -> Iterator[str]:
    """Yields `--rates 1 2` as `--rates 1 --rates 2`, for the options `several`: all numbers after one belong to it."""
    option, first = "", False
    for word in args:
        if option and not first and _is_number(word):
            yield option
        elif not first:
            option = word if word in several else ""
        first = word == option
        yield word


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _named_by_meaning(params: list[Any]) -> list[Any]:
    """Takes the types (`<bool>`, `<str>`) out of the help, and the braces around arguments out of the usage."""
    for param in params:
        if isinstance(param, TyperArgument):
            name = (param.metavar or param.name or "").upper()
            several = f"{name}..." if param.nargs != 1 else name
            param.metavar = name
            param.display_type_rich = _nothing  # type: ignore[method-assign]
            param.get_usage_pieces = partial(_usage, several if param.required else f"[{several}]")  # type: ignore[method-assign]
        elif param.metavar is None and getattr(param, "is_flag", False):
            param.metavar = ""
    return params


def _nothing(ctx: Any) -> None:
    """The type of an argument: its name says what it is."""


def _usage(text: str, ctx: Any) -> list[str]:
    return [text]


def version_text() -> str:
    """Returns "gift 0.1.0, Python 3.12.3, torch 2.13.0", without importing torch."""
    versions = [("gift", _version(DISTRIBUTION)), ("Python", platform.python_version()), ("torch", _version("torch"))]
    return ", ".join(f"{name} {version}" for name, version in versions)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version_text())
        raise typer.Exit()


Version = Annotated[
    bool,
    typer.Option(
        "--version", help="Print the versions of gift, Python and torch.", callback=_print_version, is_eager=True
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help=f"No bars, no progress, no hints: results and errors only ({QUIET}=1).")
]


def gift(version: Version = False, quiet: Quiet = False) -> None:
    """Vision-language models that keep learning without forgetting.

    `dvc repro` runs the stages in order. `gift COMMAND -h` explains a command.
    """
    del version  # printed by its callback
    if quiet:
        os.environ[QUIET] = "1"  # for the processes that a command starts, too
