"""What a reader of the result should know of the data: few-shot draws, missing images, images that were skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gift_core.artifacts.task import TaskInfo
from gift_core.config.experiment import Config
from gift_core.report.record import DataNote


def notes_of(config: Config, infos: Mapping[str, TaskInfo]) -> tuple[DataNote, ...]:
    """The notes in the order of the tasks; what holds for several tasks is one note."""
    tasks_of: dict[str, list[str]] = {}
    for task, info in infos.items():
        for text in _texts(config, task, info):
            tasks_of.setdefault(text, []).append(task)
    return tuple(DataNote(text, tuple(tasks)) for text, tasks in tasks_of.items())


def _texts(config: Config, task: str, info: TaskInfo) -> Iterator[str]:
    shots = getattr(config.tasks[task], "shots", None)  # a miniature task has none
    if shots is not None:
        yield f"few-shot: {shots} training {'image' if shots == 1 else 'images'} a class"
    yield from info.notes
    if info.skipped:
        count = len(info.skipped)
        yield f"{count:,} unreadable {'image' if count == 1 else 'images'} skipped"
