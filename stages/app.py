"""The command line: the stages of the pipeline and the commands for users."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import typer

from .check import check
from .clean import clean
from .command_line import HELP_NAMES, CommandGroup, GiftCommand, GiftGroup, gift
from .data import data
from .doctor import doctor
from .edit_method import add_method, remove_method
from .edit_task import add_task, remove_task
from .evaluate import evaluate
from .export import export
from .finetune import finetune
from .hub import hub
from .import_model import import_model
from .ingest import ingest
from .merge import merge
from .metrics import compare, metrics
from .predict import predict, test
from .presets import presets, use
from .project import dag, docs, init
from .report import report
from .run import run
from .search import search
from .sharing import exp, gate, get, merge_lock, remote
from .show import show
from .synthesize import synthesize
from .teach import teach
from .verify import verify
from .why import why
from .write_prompts import write_prompts
from .write_vocabulary import write_vocabulary

app = typer.Typer(
    cls=GiftGroup,
    name="gift",
    callback=gift,
    context_settings=HELP_NAMES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Stages of dvc.yaml": (
        check,
        import_model,
        ingest,
        write_vocabulary,
        write_prompts,
        synthesize,
        teach,
        finetune,
        evaluate,
        report,
    ),
    "Commands": (
        init,
        run,
        why,
        show,
        predict,
        test,
        merge,
        export,
        add_task,
        add_method,
        remove_task,
        remove_method,
        search,
        metrics,
        compare,
        presets,
        use,
        verify,
        doctor,
        docs,
        clean,
    ),
    "Working together": (remote, get, merge_lock, exp, gate, dag),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        name = command.__name__ if panel == "Stages of dvc.yaml" else None  # None: typer writes add-task
        app.command(name, cls=GiftCommand, rich_help_panel=panel)(command)
app.add_typer(data, name="data", cls=CommandGroup, rich_help_panel="Commands")
app.add_typer(hub, name="hub", cls=CommandGroup, rich_help_panel="Working together")


def main() -> None:
    """Runs the command in sys.argv."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no é shows \xe9 instead
    app(prog_name="gift")
