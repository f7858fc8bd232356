"""teach METHOD TASK: what the model before this task says of everything that is replayed, computed once."""

from __future__ import annotations

from gift_core.errors import UserError
from stages.cells import PARAMS, ROOT, Method, Params, Root, Task, open_cell


def teach(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Encode what the method replays with its teacher, and estimate Fisher diagonals where its anchor needs them."""
    with open_cell("teach", params, root, method=method, task=task) as cell:
        from gift_core.clip.device import resolve_device
        from gift_core.config.methods import TaughtReplay
        from gift_core.replay.teachers import load_teacher
        from gift_core.replay.teaching import teach as ask
        from stages.sources import replay_source

        row = cell.method(method)
        if not isinstance(row.replay, TaughtReplay):
            raise UserError(f"params.yaml: methods.{method}.replay.images: none: the method replays nothing to teach.")
        teacher = load_teacher(
            row.replay,
            previous=cell.start_model(method, task),
            initial=cell.layout.pretrained(),
            device=resolve_device(cell.config.run.device),
            precision=cell.config.model.precision,
        )
        cell.say(ask(teacher, row, replay_source(cell, method, task)))
