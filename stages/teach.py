"""teach METHOD TASK: what the model before this task says of every synthetic pair, computed once."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Method, Params, Root, Task, open_cell


def teach(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Encode the task's synthetic pairs with the teacher: the model as it stood before this task."""
