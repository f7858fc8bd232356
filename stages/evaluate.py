"""evaluate METHOD TASK: the accuracies that this step adds to the method's."""

from __future__ import annotations

from stages.stage import PARAMS, ROOT, Method, Params, Root, Task, open_stage


def evaluate(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Test the step's model on all tasks so far, and every earlier model on this task.

    Class-incremental (evaluation.protocol): the step's model and the pre-trained
    one, on all classes seen so far.
    """
    with open_stage("evaluate", params, root, method=method, task=task) as stage:
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

        config, tasks = stage.config, [*stage.learned_before(task), task]
        protocol = PROTOCOLS[config.evaluation.protocol]
        _, previous = read_accuracy(stage.layout.accuracy(method, stage.step(task).after))
        encoding = Encoding(
            device=resolve_device(config.run.device),
            precision=config.model.precision,
            batch_size=config.evaluation.batch_size,
        )
        measured = EvaluationCell(
            method=method,
            models={
                PRETRAINED: stage.layout.pretrained(),
                **{name: stage.layout.model(method, name) for name in tasks},
            },
            tasks={name: stage.layout.task(name) for name in tasks},
            answering=own_model if stage.method(method).keeps_every_model else newest_model,
            encoding=encoding,
            previous=previous,
        )
        rows, metadata = protocol.evaluate(measured)
        write_accuracy(stage.layout.accuracy(method, task), rows, metadata)
        stage.say(protocol.in_words(rows))
