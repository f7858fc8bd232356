"""What every stage's command shares: its options, its configuration, clear errors, and the note of its time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from gift_core import out_of_memory
from gift_core.errors import GiftError, UserError, lookup
from gift_core.layout import Layout

if TYPE_CHECKING:
    from gift_core.config.experiment import Config, StepConfig
    from gift_core.config.methods import MethodConfig

Task = Annotated[str, typer.Argument(help="A task of params.yaml's sequence.", show_default=False)]
Method = Annotated[str, typer.Argument(help="A method of params.yaml's run.methods.", show_default=False)]
Params = Annotated[Path, typer.Option("--params", help="The experiment to read.")]
Root = Annotated[Path, typer.Option("--root", help="The folder that holds data/ and reports/.")]
PARAMS = Path("params.yaml")
ROOT = Path()


class GiftGroup(TyperGroup):
    """Turns the library's errors into one plain message and exit code 1: a traceback is for our own bugs only."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except GiftError as error:
            typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.secho("interrupted: nothing half-written was left; run it again to go on", err=True)
            raise typer.Exit(130) from None


@dataclass(frozen=True)
class Cell:
    """One run of a stage: the experiment, where things lie, and which cell of dvc.yaml this is."""

    stage: str
    name: str
    config: Config
    layout: Layout

    @property
    def title(self) -> str:
        """The cell's name as DVC writes it: finetune@gift-birds."""
        return f"{self.stage}@{self.name}" if self.name else self.stage

    def say(self, message: str) -> None:
        """Prints one line that begins with the cell's name."""
        typer.echo(f"{self.title}: {message}")

    def step(self, task: str) -> StepConfig:
        """Returns the step that learns `task`; UserError with the nearest name where the sequence has none."""
        return lookup({step.task: step for step in self.config.sequence}, task, "params.yaml: sequence: task")

    def learned_before(self, task: str) -> list[str]:
        """Returns the tasks before `task` in the sequence, oldest first."""
        names = [step.task for step in self.config.sequence]
        return names[: names.index(self.step(task).task)]

    def tasks_so_far(self, task: str) -> tuple[Path, ...]:
        """Returns the folders of all tasks up to and with `task`, in the sequence's order."""
        return tuple(self.layout.task(name) for name in (*self.learned_before(task), task))

    def start_model(self, method: str, task: str) -> Path:
        """Returns the folder of the model from which the method starts to learn `task`."""
        starts = {
            "previous": self.layout.model(method, self.step(task).after),
            "pretrained": self.layout.pretrained(),
        }
        return starts[self.method(method).start]

    def provenance(self, method: str, task: str, learning_rate_factor: float) -> dict[str, Any]:
        """Returns what the model after `task` is made from: enough to make it again, nothing of when and where."""
        from gift_core.artifacts.atomic import sha256_of
        from gift_core.artifacts.models import model_hash

        return {
            "method": method,
            "task": task,
            "step": len(self.learned_before(task)),
            "start_model": model_hash(self.start_model(method, task)),
            "task_json": sha256_of(self.layout.task(task) / "task.json"),
            "seed": self.config.seed,
            "learning_rate_factor": learning_rate_factor,
            "training": self.config.training.model_dump(mode="json"),
            "settings": self.method(method).model_dump(mode="json", exclude_unset=True),
        }

    def method(self, name: str) -> MethodConfig:
        """Returns the row of method `name`; UserError with the nearest name where there is none."""
        return lookup(self.config.methods, name, "params.yaml: methods")


@contextmanager
def open_cell(stage: str, params: Path, root: Path, *, method: str = "", task: str = "") -> Iterator[Cell]:
    """Reads the experiment, checks the names, yields the cell, and notes the seconds it took in .gift/timings.

    Memory that does not suffice in the block becomes a UserError that says what to change (gift_core.out_of_memory).
    Stages import what is slow to import inside the block: a wrong name is met at once.
    """
    from gift_core.config.loading import load_config

    started = time.monotonic()
    if not params.is_file():
        raise UserError(f"--params {params}: no such file. Run in the project's root, or name the file.")
    name = "-".join(part for part in (method, task) if part)
    cell = Cell(stage, name, load_config(params), Layout(root))
    if method:
        cell.method(method)
    if task:
        lookup(cell.config.tasks, task, "params.yaml: tasks")
    try:
        yield cell
    except Exception as error:
        shortage = out_of_memory.explain(error, stage=stage, cell=cell.title, config=cell.config)
        if shortage is None:
            raise
        raise shortage from error
    note = cell.layout.timings() / stage / f"{name or stage}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"seconds": round(time.monotonic() - started, 2)}) + "\n")
