"""Where the replay of a cell of teach or finetune lies."""

from __future__ import annotations

from gift_core.replay.teach import ReplaySource
from stages.cells import Cell


def replay_source(cell: Cell, method: str, task: str) -> ReplaySource:
    """Returns the places of the step's replay; its draws are named by the task alone: all methods see the same."""
    layout, config = cell.layout, cell.config
    return ReplaySource(
        root=layout.root,
        tasks=cell.tasks_so_far(task),
        shards=layout.shards(task),
        teacher=layout.teacher(method, task),
        teacher_before=layout.teacher(method, cell.step(task).after),
        batch_size=config.training.replay_batch_size,
        encode_batch_size=config.evaluation.batch_size,
        names=("finetune", config.seed, task),
        place=f"params.yaml: methods.{method}",
    )
