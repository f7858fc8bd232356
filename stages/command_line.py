"""The look of all commands: their help, their errors, what they print, and the options of `gift` itself.

With --json, stdout has one JSON document and nothing else. An error is text on stderr, and the exit code is 1.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperArgument, TyperCommand, TyperGroup

from gift_core.errors import GiftError, UserError, nearest
from gift_core.process_variables import QUIET
from gift_core.progress import is_quiet
from gift_core.quantities import byte_size
from gift_core.work import os_errors

from .dvc.interruption import interruptible
from .options import SHARED, flag
from .stage import logged_to

if TYPE_CHECKING:
    from rich.text import Text

    from gift_core.config.experiment import Config
    from gift_core.config.params_edit import ParamsEdit

JSON = "Print the result as one JSON document (docs/command_line.md)."
AsJson = Annotated[bool, typer.Option("--json", help=JSON, rich_help_panel=SHARED)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show everything, but write nothing.")]
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", re.IGNORECASE)
COLORS = {"+": typer.colors.GREEN, "-": typer.colors.RED}  # of the lines of a difference
PLAIN: dict[str, Any] = {"box": None, "padding": (0, 1, 0, 0)}  # a table without lines


def name_guides(message: str) -> str:
    """Returns the message with `gift docs memory` for docs/memory.md, where the working folder has no such file."""
    return re.sub(
        r"docs/(\w+)\.md", lambda page: page[0] if Path(page[0]).is_file() else f"`gift docs {page[1]}`", message
    )


def print_json(result: Any) -> None:
    """Prints the one JSON document of a command on stdout. Paths become texts."""
    import json

    typer.echo(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False, default=os.fspath))


def hint(message: str) -> None:
    """Prints a line that is no result: what comes next, what a line means. Not with --quiet."""
    if not is_quiet():
        typer.echo(message)


def note(message: str) -> None:
    """Prints a line on stderr, beside the result. Not with --quiet."""
    if not is_quiet():
        typer.echo(message, err=True)


def print_error(error: Exception) -> None:
    """Prints an error of the library on stderr."""
    typer.secho(f"error: {name_guides(str(error))}", fg=typer.colors.RED, err=True)


def next_step(config: Config) -> str:
    """Returns what comes after a change of params.yaml."""
    from gift_core.config.checks import ADD_TASK

    if not config.sequence:
        return f"There is no task to learn yet: {ADD_TASK}"
    return "Next: dvc repro (gift why says which stages it runs, and for what reason)"


def print_names(abouts: Mapping[str, str]) -> None:
    """Prints a line for each name, in bold, with what is said about it."""
    width = max(map(len, abouts))
    for name, about in abouts.items():
        typer.secho(name.ljust(width), nl=False, bold=True)
        typer.echo(f"  {about}")


def print_files(files: Iterable[Path]) -> None:
    """Prints the files that were written, with their sizes."""
    for file in files:
        typer.echo(f"{file}  {byte_size(file.stat().st_size)}")


def carry_out(
    edit: ParamsEdit,
    record: Mapping[str, Any],
    *,
    shown: Iterable[str] = (),
    hints: Iterable[str] = (),
    write: bool,
    as_json: bool,
    difference: bool = True,
    unwritten: str = "--dry-run: nothing was written",
) -> None:
    """Writes an edit of params.yaml if `write`, and prints it.

    With JSON: `record`, and whether it was written. Else the lines `shown`, those of params.yaml that change, and the
    `hints`, or `unwritten`.
    """
    if write:
        from .code_files import watch

        edit.carry_out()
        if edit.params.name == "params.yaml":
            watch(edit.config, edit.params.parent)
    if as_json:
        print_json({**record, "written": write})
        return
    for line in shown:
        typer.echo(line)
    for line in edit.difference() if difference else ():
        typer.secho(line, fg=COLORS.get(line[:1]))
    for line in hints if write else ():
        hint(line)
    if not write:
        typer.echo(unwritten)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    title: str = "",
    bold: Collection[int] = (),
    left: int = 0,
    whole: Collection[str] = (),
    **look: Any,
) -> None:
    """Prints a table of texts as they are, without rich's markup. `look` are arguments of rich's Table.

    Columns are aligned to the right, but for the first `left`. Those of `whole` do not break their texts. `bold` are
    numbers of rows.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(**look)
    for number, column in enumerate(columns):
        table.add_column(
            Text(column), justify="left" if number < left else "right", overflow="fold", no_wrap=column in whole
        )
    for number, row in enumerate(rows):
        texts = [cell if isinstance(cell, Text) else Text(cell) for cell in row]
        table.add_row(*texts, style="bold" if number in bold else None)
    Console().print(*([Text(title)] if title else []), table, sep="\n")


class GiftCommand(TyperCommand):
    """A command whose help names what a value means, not its type in Python.

    Its paragraphs fill the width of the terminal: rich would keep the line breaks of the docstring.
    """

    def __init__(self, *args: Any, help: str | None = None, **options: Any) -> None:
        paragraphs = (help or "").split("\n\n")
        text = "\n\n".join(part.replace("\n", " ") for part in paragraphs)
        super().__init__(*args, help=name_guides(text), **options)

    def get_params(self, ctx: Any) -> list[Any]:
        return _named_by_meaning(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads `--rates 1 2` as `--rates 1 --rates 2`: all numbers after an option of several values belong to it."""
        several = {option for param in self.params if "..." in (param.metavar or "") for option in param.opts}
        words: list[str] = []
        option = ""  # the last one of several values
        first = False  # whether the next word is its first value
        for word in args:
            if option and not first and NUMBER.fullmatch(word):
                words.append(option)
            elif not first:
                option = word if word in several else ""
            first = word == option
            words.append(word)
        try:
            return super().parse_args(ctx, words)
        except typer.BadParameter as error:
            error.message = _with_value(error)
            raise


def _with_value(error: typer.BadParameter) -> str:
    """Returns the message with the wrong value, and of a choice with the nearest name."""
    message = error.message.removeprefix("Value error, ")
    value, is_choice, known = message.partition(" is not one of ")
    if is_choice:
        hint = nearest(value.strip("'"), re.findall("'(.*?)'", known))
        return f"{message} {hint}".rstrip()
    if isinstance(error.__cause__, ValidationError):
        return f"{error.__cause__.errors()[0]['input']} {message.removeprefix('Input ')}"
    return message


class CommandGroup(TyperGroup):
    """A group of such commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _named_by_meaning(super().get_params(ctx))


class GiftGroup(CommandGroup):
    """Prints the errors of the library and of the operating system as one message and exits with 1.

    Only bugs show a traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            with interruptible(), logged_to(note):
                return super().invoke(ctx)
        except Exception as error:
            shown = os_errors.explain(error, doing=f"gift {ctx.invoked_subcommand}") or error
            if not isinstance(shown, GiftError):
                raise
            print_error(shown)
            raise typer.Exit(1) from None
        except KeyboardInterrupt as interruption:
            with suppress(OSError):  # the terminal may be closed
                typer.secho(" ".join(map(str, (*interruption.args, "Run it again."))), err=True)
            raise typer.Exit(getattr(interruption, "exit_code", 130)) from None


def _named_by_meaning(params: list[Any]) -> list[Any]:
    """Takes the types (`<bool>`, `<str>`) out of the help, and the braces around arguments out of the usage.

    A guide is named as name_guides does.
    """
    for param in params:
        param.help = name_guides(getattr(param, "help", None) or "")
        if isinstance(param, TyperArgument):
            name = (param.metavar or param.name or "").upper()
            several = f"{name}..." if param.nargs != 1 else name
            param.metavar = name
            usage = [several if param.required else f"[{several}]"]
            param.display_type_rich = lambda ctx: None  # type: ignore[method-assign]  # its name says what it is
            param.get_usage_pieces = lambda ctx, usage=usage: usage  # type: ignore[method-assign,misc]
        elif param.metavar is None and getattr(param, "is_flag", False):
            param.metavar = ""
    return params


def plain_path(name: Any) -> Any:
    """Returns the name of a model, or each of a list, without the local-dir: or local-file: of params.yaml."""
    if isinstance(name, list):
        return [plain_path(member) for member in name]
    return re.sub("^local-(dir|file):", "", name) if name else name


def require_new(folder: Path, *inputs: str, made: Collection[str] = ()) -> None:
    """Raises UserError unless `folder` can be written without touching a file of the user.

    It may be an empty folder, or have nothing but the files `made`, which the command writes. It must not be a link
    or in one of the folders `inputs`.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        kind = "a link" if folder.is_symlink() else "a file"
        raise UserError(f"--out {folder}: already exists, and is {kind}. Name a new folder, or remove it.")
    if folder.is_dir() and (others := sorted({path.name for path in folder.iterdir()} - set(made))):
        problem = f"already exists, and has other files ({others[0]})"
        raise UserError(f"--out {folder}: {problem}. Name another folder, or remove this one.")
    for name in filter(os.path.isdir, inputs):
        if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(name)):
            raise UserError(f"--out {folder}: is in {name}, which is read. Name a folder outside it.")


def print_version(wanted: bool) -> None:
    """Prints "gift 0.1.0, Python 3.12.3, torch 2.13.0", without importing torch."""
    from gift_core.provenance import version_of

    if wanted:
        gift, torch = version_of("gift-pipeline"), version_of("torch")
        typer.echo(f"gift {gift}, Python {platform.python_version()}, torch {torch}")
        raise typer.Exit()


VERSIONS = "Print the versions of gift, Python and torch."
Version = Annotated[bool, typer.Option("--version", help=VERSIONS, callback=print_version, is_eager=True)]
QUIETLY = f"No bars, no progress, no hints: results and errors only ({QUIET}=1)."


def gift(version: Version = False, quiet: bool = flag("--quiet", QUIETLY, "-q")) -> None:
    """Vision-language models that keep learning without forgetting.

    `dvc repro` runs the stages in order. `gift COMMAND -h` explains a command.
    """
    del version  # printed by its callback
    if quiet:
        os.environ[QUIET] = "1"  # for the processes that a command starts, too
