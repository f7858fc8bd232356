"""evaluate METHOD TASK: computes the accuracies that this step adds for the method, and the predictions behind them."""

from __future__ import annotations

from .stage import PARAMS, ROOT, Method, Params, Root, Task, open_stage

TABLE_BYTES = 1 << 20
PREDICTION_BYTES = 1 << 22  # 100,000 test images take about 0.3 MB for each model


def evaluate(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Test the step's model on all tasks so far, and every earlier model on this task.

    Class-incremental (evaluation.protocol): the step's model and the pre-trained
    one, on the classes of all tasks so far. Resumes an interrupted run.

    Example: gift evaluate gift letters
    """
    with open_stage("evaluate", params, root, method=method, task=task) as stage:
        from gift_core.artifacts.accuracy import PRETRAINED, computed_with, read_accuracy, write_accuracy
        from gift_core.artifacts.contract import sha256_of
        from gift_core.artifacts.model_folder import noted_hash, record_hashes
        from gift_core.artifacts.predictions import write_predictions
        from gift_core.classifier import EncodingSettings
        from gift_core.clip.device import resolve_device
        from gift_core.evaluation import PROTOCOLS, EvaluationInputs, newest_model, own_model
        from gift_core.provenance import environment
        from gift_core.work.publishing import require_free_bytes
        from gift_core.work.units import KeptUnits

        from .tracked import track_accuracies
        from .unfinished import hashes_below, unfinished

        config, layout, tasks = stage.config, stage.layout, [*stage.learned_before(task), task]
        protocol, device = PROTOCOLS[config.evaluation.protocol], resolve_device(config.run.device)
        _, previous = read_accuracy(layout.accuracy(method, stage.step(task).after))
        models = {PRETRAINED: layout.pretrained(), **{name: layout.model(method, name) for name in tasks}}
        settings = EncodingSettings(
            device=device, precision=config.model.precision, batch_size=config.evaluation.batch_size
        )
        require_free_bytes(layout.accuracy(method, task), TABLE_BYTES, f"{stage.title}: the accuracies")
        require_free_bytes(layout.predictions(method, task), PREDICTION_BYTES, f"{stage.title}: the predictions")
        read = {
            "models": {name: [noted_hash(folder), hashes_below(folder)] for name, folder in models.items()},
            "tasks": {name: sha256_of(layout.task(name) / "task.json") for name in tasks},
        }
        with unfinished(stage, device, {**read, **config.evaluation.model_dump()}) as work:
            stage.phase = "evaluating"
            inputs = EvaluationInputs(
                method=method,
                models=models,
                tasks={name: layout.task(name) for name in tasks},
                model_for=own_model if stage.method(method).keeps_every_model else newest_model,
                settings=settings,
                previous=previous,
                run=KeptUnits(work, stage.say),
            )
            measured = protocol.evaluate(inputs)
            made = {**record_hashes(layout.model(method, task)), **computed_with(environment(device))}
            metadata = {**measured.metadata, **made}
            write_predictions(layout.predictions(method, task), measured.predictions, metadata)
            write_accuracy(layout.accuracy(method, task), measured.rows, metadata)
        stage.say(protocol.summarize(measured.rows))
        track_accuracies(stage, method, task, measured.rows)
