"""One run of a stage: what it runs for, what it says, and clear errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gift_core.errors import lookup
from gift_core.layout import Layout
from gift_core.progress import is_quiet
from gift_core.work import os_errors

if TYPE_CHECKING:
    import torch

    from gift_core.config.experiment import Config, StepConfig
    from gift_core.config.method_options import MethodConfig
    from gift_core.work.resumable import ResumableRunner


@dataclass
class Stage:
    """One run of a stage: the experiment, the locations of its files, and the method and task that it runs for.

    These two are empty where it runs for all. `phase` says what the stage is doing, for the message when memory is
    insufficient.
    """

    stage: str
    config: Config
    layout: Layout
    method: str = ""
    task: str = ""
    phase: str = "running"
    noted: dict[str, Any] = field(default_factory=dict)  # beside the time, in .gift/timings

    @property
    def name(self) -> str:
        """The method and the task: gift-birds."""
        return "-".join(part for part in (self.method, self.task) if part)

    @property
    def title(self) -> str:
        """The name that DVC shows: finetune@gift-birds."""
        return f"{self.stage}@{self.name}" if self.name else self.stage

    def say(self, message: str) -> None:
        """Prints one line that begins with the title. Not with --quiet."""
        if not is_quiet():
            typer.echo(f"{self.title}: {message}")

    def resumable(self, device: torch.device, inputs: Mapping[str, Any]) -> AbstractContextManager[ResumableRunner]:
        """Owns the folder of the stage's unfinished work. `inputs` decide the result (gift_core.work.resumable)."""
        from gift_core.work.resumable import resumable_runner

        base = self.layout.work(self.stage, self.name)
        inputs = {**inputs, "precision": self.config.model.precision}
        return resumable_runner(base, self.stage, device, inputs)

    def track(self, scores: Mapping[str, float | None], method: str, task: str) -> bool:
        """Adds scores to the tracked run of the training of a model. Returns whether the tracker still works."""
        from gift_core.artifacts.model_folder import read_provenance
        from gift_core.tracking.tracked_run import describe, tracked_run

        folder, experiment = self.layout.model(method, task), self.config.experiment
        with tracked_run(lambda: describe(read_provenance(folder), experiment), self.layout.root) as run:
            run.log_scores(scores)
        return run.tracker is not None

    @property
    def row(self) -> MethodConfig:
        """The method's row; UserError with the nearest name where there is none."""
        return lookup(self.config.methods, self.method, "params.yaml: methods")

    @property
    def step(self) -> StepConfig:
        """The step that learns the task; UserError with the nearest name where the sequence has none."""
        return lookup({step.task: step for step in self.config.sequence}, self.task, "params.yaml: sequence: task")

    @property
    def tasks(self) -> list[str]:
        """The tasks up to and including this one, in the order of the sequence."""
        names = [step.task for step in self.config.sequence]
        return names[: names.index(self.step.task) + 1]

    @property
    def task_folders(self) -> tuple[Path, ...]:
        """The folders of `tasks`."""
        return tuple(map(self.layout.task, self.tasks))

    @property
    def start_model(self) -> Path:
        """The folder of the model from which the method starts to learn the task."""
        previous = self.layout.model(self.method, self.step.after)
        return {"previous": previous, "pretrained": self.layout.pretrained()}[self.row.start]


@contextmanager
def logged_to(show: Callable[[str], None]) -> Iterator[None]:
    """Within the block, only `show` gets what the library logs. A block inside it takes its place."""
    logger = logging.getLogger("gift_core")
    handlers, level = logger.handlers, logger.level
    propagates = logger.propagate
    printer = logging.Handler()
    printer.emit = lambda record: show(record.getMessage())  # type: ignore[method-assign]
    logger.handlers = [printer]
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a handler of the root would print it again
    try:
        yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
        logger.propagate = propagates


@contextmanager
def explained(stage: Stage) -> Iterator[None]:
    """Within the block, insufficient memory and what the operating system refuses become UserErrors: see open_stage."""
    try:
        yield
    except Exception as error:
        refusal = os_errors.explain(error, doing=stage.title, phase=stage.phase, stage=stage.stage)
        if refusal is None:
            raise
        raise refusal from None
