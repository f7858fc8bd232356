"""The replay of a step of teach or finetune, with the locations of its data.

It is not in stages/stage.py, since every stage imports that module: the code of replay would count for all of them.
"""

from __future__ import annotations

from typing import Any

from gift_core.method.replay.source import ReplaySource, Sampling, StepReplay
from gift_core.method.replay.teach import step_replay

from .stage import Stage


def replay_of(stage: Stage, method: str, task: str) -> StepReplay[Any]:
    """Returns the step's replay. Its seed depends on the task only: all methods see the same."""
    layout, config = stage.layout, stage.config
    source = ReplaySource(
        root=layout.root,
        tasks=stage.tasks_so_far(task),
        shards=layout.shards(task),
        earlier=tuple(map(layout.shards, reversed(stage.learned_before(task)))),
        vocabulary=layout.vocabulary(stage.step(task).after),
        teacher=layout.teacher(method, task),
        teacher_before=layout.teacher(method, stage.step(task).after),
        key=f"params.yaml: methods.{method}",
    )
    sampling = Sampling(
        config.training.replay_batch_size, config.evaluation.batch_size, ("finetune", config.seed, task)
    )
    return step_replay(stage.method(method).replay, source, sampling)
