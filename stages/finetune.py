"""finetune METHOD TASK: the model learns the task, and keeps what it knew as far as the method keeps it."""

from __future__ import annotations

from typing import Annotated

import typer

from stages.cells import PARAMS, ROOT, Method, Params, Root, Task, open_cell

Factor = Annotated[float, typer.Option(help="This step's factor on the method's learning rate.", min=0.0)]


def finetune(
    method: Method, task: Task, learning_rate_factor: Factor = 1.0, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Fine-tune the model of the step before on the task, by the method's replay, loss terms and anchor."""
