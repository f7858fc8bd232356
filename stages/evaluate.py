"""evaluate METHOD TASK: the accuracies that this step adds to the method's matrix."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Method, Params, Root, Task, open_cell


def evaluate(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Test the step's model on all tasks learned so far, and every earlier model on this task."""
