"""evaluate METHOD TASK: the accuracies that this step adds to the method's."""

from __future__ import annotations

from stages.cells import PARAMS, ROOT, Method, Params, Root, Task, open_cell


def evaluate(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Test the step's model on all tasks so far, and every earlier model on this task.

    Class-incremental (evaluation.protocol): the step's model and the pre-trained
    one, on all classes seen so far.
    """
    with open_cell("evaluate", params, root, method=method, task=task) as cell:
        from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
        from gift_core.clip.device import resolve_device
        from gift_core.evaluation import (
            PRETRAINED,
            PROTOCOLS,
            Encoding,
            EvaluationCell,
            newest_model,
            own_model,
        )

        config, tasks = cell.config, [*cell.learned_before(task), task]
        protocol = PROTOCOLS[config.evaluation.protocol]
        _, previous = read_accuracy(cell.layout.accuracy(method, cell.step(task).after))
        encoding = Encoding(
            device=resolve_device(config.run.device),
            precision=config.model.precision,
            batch_size=config.evaluation.batch_size,
        )
        measured = EvaluationCell(
            method=method,
            models={PRETRAINED: cell.layout.pretrained(), **{name: cell.layout.model(method, name) for name in tasks}},
            tasks={name: cell.layout.task(name) for name in tasks},
            answering=own_model if cell.method(method).keeps_every_model else newest_model,
            encoding=encoding,
            previous=previous,
        )
        rows, metadata = protocol.evaluate(measured)
        write_accuracy(cell.layout.accuracy(method, task), rows, metadata)
        cell.say(protocol.in_words(rows))
