"""evaluate METHOD TASK: computes the accuracies that this step adds for the method, and the predictions behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .open_stage import open_stage
from .options import PARAMS, ROOT, Method, Params, Root, Task
from .stage import Stage

if TYPE_CHECKING:
    import pandas as pd

    from gift_core.config.experiment import Config
    from gift_core.method.classifier import EncodingSettings
    from gift_core.method.evaluation import EvaluationInputs


def evaluate(method: Method, task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Test the step's model on all tasks so far, and every earlier model on this task.

    Class-incremental (evaluation.protocol): the step's model and the pre-trained
    one, on the classes of all tasks so far. Cross-domain: all models on all tasks,
    among the classes of all of them. The step's model is tested on the probes,
    too. First the model is released: see the slot `release` of a method.
    Resumes an interrupted run.

    Example: gift evaluate gift letters
    """
    with open_stage("evaluate", params, root, method=method, task=task) as stage:
        from gift_core.artifacts.accuracy import PROBE, computed_with, write_accuracy
        from gift_core.artifacts.model_folder import record_hashes
        from gift_core.artifacts.predictions import write_predictions
        from gift_core.method.evaluation import evaluate_step, with_probes
        from gift_core.provenance import environment
        from gift_core.torch_devices import set_up_device
        from gift_core.use.release import release_model
        from gift_core.work.resumable import kept_features

        settings, layout = stage.config.evaluation, stage.layout
        device = set_up_device(stage.config.run.device)
        trained = layout.model(method, task)
        release_model(trained, layout.pretrained(), layout.released(method, task), stage.row.release)
        inputs = _inputs(stage)
        probes = {name: folder for name, (folder, _) in inputs.probes.items()}
        read = hashes_of_inputs(inputs.models, {**inputs.tasks, **probes})
        options = {**settings.model_dump(), "seed": stage.config.seed, "precision": stage.config.model.precision}
        features = kept_features(layout.work("features", method), stage.stage, device, options)
        keeps = features if not settings.protocol.own_classes else nullcontext()
        with stage.resumable(device, {**read, **options}) as run, keeps as kept:
            stage.phase = "evaluating"
            learned = evaluate_step(inputs, replace(run, kept=kept))
            measured = with_probes(learned, inputs, run)
            metadata = {**measured.metadata, **record_hashes(trained), **computed_with(environment(device))}
            write_predictions(layout.predictions(method, task), measured.predictions, metadata)
            write_accuracy(layout.accuracy(method, task), measured.rows, metadata)
        for line in describe(measured.rows):
            stage.say(line)
        rows = measured.rows[measured.rows["trained_task"] == task]
        names = rows["phase"].where(rows["phase"] == PROBE, "accuracy") + "/" + rows["eval_task"]
        stage.track(dict(zip(names, 100.0 * rows["top1"], strict=True)), method, task)


def _inputs(stage: Stage) -> EvaluationInputs:
    """Returns the models and test sets of the step, and the accuracies of the step before."""
    from gift_core.artifacts.accuracy import PRETRAINED, read_accuracy, read_probe
    from gift_core.method.evaluation import EvaluationInputs, newest_model, own_model

    layout = stage.layout
    method, tasks = stage.method, stage.tasks
    return EvaluationInputs(
        method=method,
        protocol=stage.config.evaluation.protocol,
        models={PRETRAINED: layout.pretrained(), **{name: layout.released(method, name) for name in tasks}},
        tasks={name: layout.task(name) for name in tasks},
        model_for=own_model if stage.row.keeps_every_model else newest_model,
        settings=encoding_settings(stage.config),
        previous=read_accuracy(layout.accuracy(method, stage.step.after))[1],
        probes={name: (layout.task(name), read_probe(layout.probe(name))) for name in stage.config.evaluation.probes},
    )


def encoding_settings(config: Config) -> EncodingSettings:
    """Returns how models are loaded and images encoded for a test."""
    from gift_core.clip.test_sets import ImageLimit
    from gift_core.method.classifier import EncodingSettings
    from gift_core.torch_devices import set_up_device

    device = set_up_device(config.run.device)
    most = config.evaluation.max_images
    limit = None if most is None else ImageLimit(most, config.seed)
    return EncodingSettings(device, config.model.precision, config.evaluation.batch_size, limit)


def describe(rows: pd.DataFrame) -> Iterator[str]:
    """Yields the mean accuracy of the step's own model on the tasks so far, and on the probes if there are any."""
    from gift_core.artifacts.accuracy import PROBE

    newest = rows[rows.step == rows.step.max()]
    is_probe = newest.phase == PROBE
    for name, tested in (("the tasks so far", newest[~is_probe]), ("the probes", newest[is_probe])):
        if len(tested):
            by_task = ", ".join(f"{row.eval_task} {row.top1:.1%}" for row in tested.itertuples())
            yield f"{tested.top1.mean():.1%} on {name}{f' ({by_task})' if len(tested) > 1 else ''}"


def hashes_of_inputs(models: Mapping[str, Path], tasks: Mapping[str, Path]) -> dict[str, Any]:
    """Returns the hashes of all files that a test of `models` on `tasks` reads, both folders by name."""
    from gift_core.artifacts.contract import sha256_of
    from gift_core.artifacts.model_folder import hashes_below, noted_hash

    return {
        "models": {name: [noted_hash(folder), hashes_below(folder)] for name, folder in models.items()},
        "tasks": {name: sha256_of(folder / "task.json") for name, folder in tasks.items()},
    }
