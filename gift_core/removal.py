"""Takes a task or a method out of params.yaml: what changes, which stages go away or run again, what stays on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.config.loading import parse_config
from gift_core.config.removing import remove_method, remove_task
from gift_core.config.tasks import OwnTaskConfig
from gift_core.layout import Layout
from gift_core.params_edit import ParamsEdit, read_params
from gift_core.shipped import pipeline_root
from gift_core.stage_graph import stages_of_method, stages_of_step


@dataclass(frozen=True)
class Removal(ParamsEdit):
    """A task or a method that is about to be removed from params.yaml. No other file changes.

    `gone` are the stages that made its results, by their names before. `stages` are those that `dvc repro` runs next.
    `later` are the tasks that are learned again, because the sequence before them changes. `results` are its artifacts
    on this machine, without accuracies and predictions, which the stage check moves to .gift/taken_back. `images` is
    the folder of the user's images if no other task reads it.
    """

    gone: tuple[str, ...]
    stages: tuple[str, ...]
    later: tuple[str, ...]
    results: tuple[Path, ...]
    images: Path | None


def plan_task_removal(name: str, *, params: Path, root: Path) -> Removal:
    """Returns the removal of a task, its step, and the link to it in the next step. Nothing is written.

    UserError for an unknown name, and a params.yaml that is not valid or cannot be edited.
    """
    text = read_params(params)
    before = parse_config(text, params.name)
    after_text = remove_task(text, name)
    after = parse_config(after_text, params.name)
    order = [step.task for step in before.sequence]
    later = tuple(order[order.index(name) + 1 :] if name in order else ())
    pipeline = pipeline_root(root)
    gone = _of_loops(stages_of_step(pipeline, before.model_dump(mode="json"), name))
    again = stages_of_step(pipeline, after.model_dump(mode="json"), *later)
    stages = tuple(stage for stage in again if not stage.startswith("ingest@"))  # its data set is the same
    results = _present(_results_of_task(Layout(root), before, name))
    images = _own_images(before, name, root)
    return Removal(params, text, after_text, after, gone, stages, later, results, images)


def plan_method_removal(name: str, *, params: Path, root: Path) -> Removal:
    """Returns the removal of a method: its row, and its name in run.methods. Nothing is written. UserError as above."""
    text = read_params(params)
    before = parse_config(text, params.name)
    after_text = remove_method(text, name)
    after = parse_config(after_text, params.name)
    pipeline = pipeline_root(root)
    gone = _of_loops(stages_of_method(pipeline, before.model_dump(mode="json"), name))
    stages = tuple(stages_of_method(pipeline, after.model_dump(mode="json"), name))
    layout = Layout(root)
    results = _present([layout.teacher(name, ""), layout.model(name, "")])
    return Removal(params, text, after_text, after, gone, stages, (), results, None)


def _of_loops(stages: list[str]) -> tuple[str, ...]:
    """Without check and report, which stay."""
    return tuple(stage for stage in stages if "@" in stage)


def _results_of_task(layout: Layout, config: Config, task: str) -> Iterator[Path]:
    yield from (layout.task(task), layout.prompts(task), layout.vocabulary(task), layout.shards(task))
    for method in config.run.methods:
        yield from (layout.teacher(method, task), layout.model(method, task))


def _present(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.exists())


def _own_images(config: Config, name: str, root: Path) -> Path | None:
    row = config.tasks[name]
    shared = any(other.path == row.path for task, other in config.tasks.items() if task != name)
    images = root / row.path
    return images if isinstance(row, OwnTaskConfig) and not shared and images.exists() else None
