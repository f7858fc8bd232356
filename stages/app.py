"""The command line: the stages of the pipeline and the commands for users."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable

import typer

from .check import check
from .command_line import CommandGroup, GiftCommand, GiftGroup, gift
from .commands.compare import compare
from .commands.data import data
from .commands.doctor import clean, doctor
from .commands.edit_methods import add_method, methods, remove_method
from .commands.edit_params import add_task, order, remove_task
from .commands.models import export, merge, release
from .commands.predict import predict, test
from .commands.project import docs, init, presets, use
from .commands.rehearse import rehearse
from .commands.run import run
from .commands.search import search
from .commands.sharing import gate, get, hub, merge_lock, remote, share
from .commands.show import metrics, show
from .commands.verify import verify
from .commands.why import why
from .evaluate import evaluate
from .finetune import finetune
from .import_model import import_model
from .ingest import ingest
from .probe import probe
from .report import report
from .synthesize import synthesize
from .teach import teach
from .write_prompts import write_prompts
from .write_vocabulary import write_vocabulary

STAGES = (
    check, import_model, ingest, write_vocabulary, write_prompts, probe, synthesize, teach, finetune,
    evaluate, report,
)  # fmt: skip
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Commands": (
        init, doctor, rehearse, run, why, show, predict, test, merge, export, add_task, remove_task, order, methods,
        add_method, remove_method, search, release, metrics, compare, presets, use, verify, docs, clean,
    ),
    "Working together": (remote, get, share, gate),
}  # fmt: skip
CALLED = ", ".join([*(stage.__name__ for stage in STAGES), "merge-lock"])
app = typer.Typer(
    cls=GiftGroup,
    name="gift",
    callback=gift,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=f"Called by dvc.yaml and git: {CALLED}.",
)
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(cls=GiftCommand, rich_help_panel=panel)(command)  # typer writes add-task
for stage in STAGES:
    app.command(stage.__name__, cls=GiftCommand, rich_help_panel="Stages of dvc.yaml", hidden=True)(stage)
app.command(cls=GiftCommand, rich_help_panel="Working together", hidden=True)(merge_lock)
app.add_typer(data, name="data", cls=CommandGroup, rich_help_panel="Commands")
app.add_typer(hub, name="hub", cls=CommandGroup, rich_help_panel="Working together")


def main() -> None:
    """Runs the command in sys.argv."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no é shows \xe9 instead
    warnings.filterwarnings("ignore", module=r"PIL\.")  # they do not name the image
    app(prog_name="gift")
