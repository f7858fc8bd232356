"""The replay of a step of teach or finetune, with the locations of its data.

It is not in stages/stage.py, since every stage imports that module: the code of replay would count for all of them.
"""

from __future__ import annotations

from typing import Any

from gift_core.method.replay.source import ReplaySource, Sampling, StepReplay
from gift_core.method.replay.teach import REPLAYS

from .stage import Stage


def replay_of(stage: Stage) -> StepReplay[Any]:
    """Returns the step's replay. Its seed depends on the task only: all methods see the same."""
    layout, config, after = stage.layout, stage.config, stage.step.after
    source = ReplaySource(
        root=layout.root,
        tasks=stage.task_folders,
        shards=layout.shards(stage.task),
        earlier=tuple(map(layout.shards, reversed(stage.tasks[:-1]))),
        vocabulary=layout.vocabulary(after),
        teacher=layout.teacher(stage.method, stage.task),
        teacher_before=layout.teacher(stage.method, after),
        key=f"params.yaml: methods.{stage.method}",
    )
    sampling = Sampling(
        config.training.replay_batch_size, config.evaluation.batch_size, ("finetune", config.seed, stage.task)
    )
    return REPLAYS[stage.row.replay.images](stage.row.replay, source, sampling)
