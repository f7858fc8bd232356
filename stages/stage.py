"""What the commands of all stages share: options, configuration, clear errors, and a note of their run time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from gift_core import os_errors, out_of_memory
from gift_core.errors import GiftError, UserError, lookup
from gift_core.layout import Layout

from .interruption import interruptible

if TYPE_CHECKING:
    from gift_core.config.experiment import Config, StepConfig
    from gift_core.config.method_options import MethodConfig

Task = Annotated[str, typer.Argument(help="A task in the sequence of params.yaml.", show_default=False)]
Method = Annotated[str, typer.Argument(help="A method in run.methods of params.yaml.", show_default=False)]
Params = Annotated[Path, typer.Option("--params", help="The experiment to read.")]
Root = Annotated[Path, typer.Option("--root", help="The folder that contains data/ and reports/.")]
PARAMS = Path("params.yaml")
ROOT = Path()


class GiftGroup(TyperGroup):
    """Prints the errors of the library and of the operating system as one message and exits with 1.

    Only bugs show a traceback. In a folder without params.yaml, the help says how to make a project.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        if not PARAMS.is_file():
            typer.echo(f" This folder has no {PARAMS}. To make a project: gift init DIR\n")

    def invoke(self, ctx: Any) -> Any:
        try:
            with interruptible():
                return super().invoke(ctx)
        except Exception as error:
            shown = os_errors.explain(error, doing=f"gift {ctx.invoked_subcommand}") or error
            if not isinstance(shown, GiftError):
                raise
            typer.secho(f"error: {shown}", fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt as interruption:
            with suppress(OSError):  # the terminal may be closed
                typer.secho(" ".join(map(str, (*interruption.args, "Run it again."))), err=True)
            raise typer.Exit(getattr(interruption, "exit_code", 130)) from None


@dataclass
class Stage:
    """One run of a stage: the experiment and the locations of its files.

    `phase` says what the stage is doing, for the message when memory is insufficient.
    """

    stage: str
    name: str
    config: Config
    layout: Layout
    phase: str = "running"

    @property
    def title(self) -> str:
        """The name that DVC shows: finetune@gift-birds."""
        return f"{self.stage}@{self.name}" if self.name else self.stage

    def say(self, message: str) -> None:
        """Prints one line that begins with the title."""
        typer.echo(f"{self.title}: {message}")

    def step(self, task: str) -> StepConfig:
        """Returns the step that learns `task`; UserError with the nearest name where the sequence has none."""
        return lookup({step.task: step for step in self.config.sequence}, task, "params.yaml: sequence: task")

    def learned_before(self, task: str) -> list[str]:
        """Returns the tasks before `task` in the sequence, oldest first."""
        names = [step.task for step in self.config.sequence]
        return names[: names.index(self.step(task).task)]

    def tasks_so_far(self, task: str) -> tuple[Path, ...]:
        """Returns the folders of all tasks up to and including `task`, in the order of the sequence."""
        return tuple(self.layout.task(name) for name in (*self.learned_before(task), task))

    def method(self, name: str) -> MethodConfig:
        """Returns the row of method `name`; UserError with the nearest name where there is none."""
        return lookup(self.config.methods, name, "params.yaml: methods")

    def start_model(self, method: str, task: str) -> Path:
        """Returns the folder of the model from which the method starts to learn `task`."""
        starts = {
            "previous": self.layout.model(method, self.step(task).after),
            "pretrained": self.layout.pretrained(),
        }
        return starts[self.method(method).start]


@contextmanager
def open_stage(stage: str, params: Path, root: Path, *, method: str = "", task: str = "") -> Iterator[Stage]:
    """Reads the experiment, checks the names, yields the stage, and writes its run time to .gift/timings.

    Where memory is insufficient within the block, or the operating system refuses something, raises a UserError that
    says what to change (gift_core.out_of_memory, gift_core.os_errors). Commands import slow modules inside the block,
    so that a wrong name is reported at once.
    """
    from gift_core.config.loading import load_config

    started = time.monotonic()
    if not params.is_file():
        raise UserError(f"--params {params}: no such file. Run in a project's root, or make a project: gift init DIR")
    name = "-".join(part for part in (method, task) if part)
    opened = Stage(stage, name, load_config(params), Layout(root))
    if method:
        opened.method(method)
    if task:
        lookup(opened.config.tasks, task, "params.yaml: tasks")
    try:
        yield opened
    except Exception as error:
        shortage = out_of_memory.explain(
            error, stage=stage, title=opened.title, phase=opened.phase, config=opened.config
        )
        refusal = shortage or os_errors.explain(error, doing=opened.title, phase=opened.phase)
        if refusal is None:
            raise
        raise refusal from error
    _note_time(opened, round(time.monotonic() - started, 2))


def _note_time(stage: Stage, seconds: float) -> None:
    """Writes the run time for the report. A stage that has finished does not fail because of it."""
    from gift_core.artifacts.atomic import write_json

    note = stage.layout.timings() / stage.stage / f"{stage.name or stage.stage}.json"
    try:
        write_json(note, {"seconds": seconds})
    except OSError as error:
        stage.say(f"warning: its run time is not noted in {note} ({error.strerror or error})")
