"""The kinds of replay by the value of replay.images, that of a step, and what the stage teach writes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.teacher_files import write_source
from gift_core.computation import UnitRunner, run_serially
from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.method.replay.current_task import TaskReplay
from gift_core.method.replay.exemplars import ExemplarReplay
from gift_core.method.replay.pairs import ReferenceReplay, SyntheticReplay
from gift_core.method.replay.source import ReplaySource, Sampling, StepReplay, Teacher
from gift_core.provenance import environment

# By the value of replay.images in params.yaml. Its options are in config/replay_options.py.
REPLAYS: Mapping[str, type[StepReplay[Any]]] = {
    "none": StepReplay,
    "synthetic": SyntheticReplay,
    "reference": ReferenceReplay,
    "task": TaskReplay,
    "exemplars": ExemplarReplay,
}


def replay_of(config: Config, layout: Layout, method: str, task: str) -> StepReplay[Any]:
    """Returns the replay of a step of a method. Its seed depends on the task only: all methods see the same."""
    position = config.position(task)
    earlier = [step.task for step in config.sequence[:position]]
    after = config.sequence[position].after
    source = ReplaySource(
        root=layout.root,
        tasks=tuple(map(layout.task, [*earlier, task])),
        shards=layout.shards(task),
        earlier=tuple(map(layout.shards, reversed(earlier))),
        vocabulary=layout.vocabulary(after),
        teacher=layout.teacher(method, task),
        teacher_before=layout.teacher(method, after),
        key=f"params.yaml: methods.{method}",
    )
    sampling = Sampling(
        config.training.replay_batch_size, config.evaluation.batch_size, ("finetune", config.seed, task)
    )
    row = config.methods[method]
    return REPLAYS[row.replay.images](row.replay, source, sampling)


def write_teacher_folder(
    teacher: Teacher, replay: StepReplay[Any], folder: Path, *, read: Mapping[str, str], run: UnitRunner = run_serially
) -> str:
    """Writes what fine-tuning needs of the frozen teacher into `folder`; returns a summary of it.

    These are the features of the replayed images and texts, the Fisher diagonals where `replay.fisher` asks for them,
    and source.json with `read`, the hashes of the replay.
    """
    images = replay.options.images
    summary = replay.encode_with(teacher, folder, run)
    computed_with = None if images == "none" else environment(teacher.clip.device)
    write_source(folder, replay=images, read=read, model=teacher.model, environment=computed_with)
    return summary
