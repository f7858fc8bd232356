"""`python -m stages NAME`, installed as `gift`: the stages of the pipeline and the commands for users."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import typer

from stages.add_task import add_task
from stages.check import check
from stages.clean import clean
from stages.compare import compare
from stages.dag import dag
from stages.data import data
from stages.doctor import doctor
from stages.evaluate import evaluate
from stages.exp import exp
from stages.export import export
from stages.finetune import finetune
from stages.get import get
from stages.import_model import import_model
from stages.ingest import ingest
from stages.merge import merge
from stages.merge_lock import merge_lock
from stages.metrics import metrics
from stages.predict import predict
from stages.presets import presets
from stages.remote import remote
from stages.report import report
from stages.show import show
from stages.stage import GiftGroup
from stages.synthesize import synthesize
from stages.teach import teach
from stages.use import use
from stages.verify import verify
from stages.write_prompts import write_prompts
from stages.write_vocabulary import write_vocabulary

app = typer.Typer(
    cls=GiftGroup,
    name="gift",
    help="Vision-language models that keep learning without forgetting. `dvc repro` runs the stages in order.",
    no_args_is_help=True,
    add_completion=False,
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
    "Commands": (show, predict, merge, export, add_task, metrics, compare, presets, use, verify, doctor, clean),
    "Working together": (remote, get, merge_lock, exp, dag),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        name = command.__name__ if panel == "Stages of dvc.yaml" else None  # None: typer writes add-task
        app.command(name, rich_help_panel=panel)(command)
app.add_typer(data, name="data", rich_help_panel="Commands")


def main() -> None:
    """The console command `gift`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no é shows \xe9 instead
    app()


if __name__ == "__main__":
    main()
