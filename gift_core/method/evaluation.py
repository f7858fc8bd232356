"""Evaluation of a step: predictions and top-1 accuracies of its models on the test sets, by one of three protocols.

task_incremental: a test image is classified among the classes of its own task. class_incremental and cross_domain:
among the classes of all tasks so far, in one test or task by task. Beside that, with_probes tests the step's model on
tasks that no step learns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from gift_core.artifacts.accuracy import (
    CLASS_INCREMENTAL,
    CROSS_DOMAIN,
    MAX_IMAGES,
    PRETRAINED,
    PRETRAINED_STEP,
    PROBE,
    TASK_INCREMENTAL,
    input_hashes,
)
from gift_core.artifacts.task import read_task
from gift_core.clip.task_tests import Classification, TestOutcome
from gift_core.computation import UnitRunner, run_serially
from gift_core.config.experiment import TESTED
from gift_core.method.class_texts import require_distinct_classes
from gift_core.method.classifier import EncodingSettings, classify_all, classify_among_all


@dataclass(frozen=True)
class Measurement:
    """The rows of artifacts.accuracy, the predictions behind them (artifacts.predictions), and the metadata of both."""

    rows: pd.DataFrame
    predictions: pd.DataFrame
    metadata: dict[str, str]


@dataclass(frozen=True)
class EvaluationInputs:
    """A method after a step, and all that its evaluation needs.

    `tasks`: the folder of each task up to this step, in the order of the sequence. `models`: the folder of
    "pretrained", then of the model after each of the tasks, in that order. `model_for` says which model classifies the
    images of a task after a step (newest_model, own_model). `previous`: the metadata of the step before, empty at the
    first step. `probes`: the folders of tasks that no step learns, and the accuracy of the pre-trained model on each.
    """

    method: str
    models: Mapping[str, Path]
    tasks: Mapping[str, Path]
    model_for: Callable[[int, int], int]
    settings: EncodingSettings
    previous: Mapping[str, str]
    probes: Mapping[str, tuple[Path, tuple[float, int]]] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """This step, which trained the last of the tasks; counts from 0."""
        return len(self.tasks) - 1


def newest_model(step: int, task: int) -> int:
    """Returns the model that classifies the images of `task` after `step`: the newest one, `step`.

    Both count from 0; -1 is the pre-trained model.
    """
    return step


def own_model(step: int, task: int) -> int:
    """Returns the task's own model once it exists, and the pre-trained one (-1) before: one model for each task."""
    return task if task <= step else PRETRAINED_STEP


def evaluate_task_incremental(inputs: EvaluationInputs, run: UnitRunner = run_serially) -> Measurement:
    """Returns the rows (artifacts.accuracy) that the step adds to the accuracy matrix, and what they are made of.

    The rows form an L (docs/decisions/0001): this step on every task so far (phase past or current), and every earlier
    step on the new task (phase future, or pretrained at step -1). So the matrix grows without measuring anything again.
    The metadata hold the hash of every model and task, and the limit of test images if there is one.
    """
    metadata = _metadata(inputs.models, inputs.tasks, inputs.settings)
    models, tasks = list(inputs.models.values()), list(inputs.tasks.values())
    # two steps may be tested with one model (own_model)
    tested = {
        (step, task): (inputs.model_for(step, task), task) for step, task in TESTED[TASK_INCREMENTAL](inputs.step)
    }
    outcomes = classify_all(list(tested.values()), models=models, tasks=tasks, settings=inputs.settings, run=run)
    tests = {pair: outcomes[model_and_task] for pair, model_and_task in tested.items()}
    return _matrix(inputs, TASK_INCREMENTAL, tests, metadata)


def evaluate_cross_domain(inputs: EvaluationInputs, run: UnitRunner = run_serially) -> Measurement:
    """Returns the whole accuracy matrix of the tasks so far (X-TAIL; RAIL, arXiv 2406.18868), and what it is made of.

    Each image is classified among the classes of all tasks so far. A new task changes every accuracy, so the file of
    the last step counts alone. Rows, phases and metadata are those of the task-incremental protocol.
    """
    metadata = _metadata(inputs.models, inputs.tasks, inputs.settings)
    models, tasks = list(inputs.models.values()), list(inputs.tasks.values())
    tests = classify_among_all(models=models, tasks=tasks, settings=inputs.settings, run=run)
    return _matrix(inputs, CROSS_DOMAIN, tests, metadata)


def evaluate_class_incremental(inputs: EvaluationInputs, run: UnitRunner = run_serially) -> Measurement:
    """Returns two rows (artifacts.accuracy), of the step's model and of the pre-trained one, with their predictions.

    Both are tested on the test sets of all tasks so far. Each image is classified among the classes of all of them,
    with the templates of each class's own task; top1 is over all images together. No other model is read: the metadata
    take the other hashes from the step before. UserError where two tasks share a class.
    """
    names = list(inputs.tasks)
    models = {name: inputs.models[name] for name in (PRETRAINED, names[-1])}
    folders = list(inputs.tasks.values())
    require_distinct_classes([read_task(folder) for folder in folders])
    metadata = _metadata(models, inputs.tasks, inputs.settings)
    tests = classify_among_all(models=list(models.values()), tasks=folders, settings=inputs.settings, run=run)
    rows, predictions = [], []
    for model, step in enumerate((PRETRAINED_STEP, inputs.step), start=-1):
        of_tasks = [tests[model, task] for task in range(len(names))]
        joined = Classification(
            predicted_N=torch.cat([test.predicted_N for test in of_tasks]),
            labels_N=torch.cat([test.labels_N for test in of_tasks]),
            positions_N=torch.cat([test.positions_N for test in of_tasks]),
            classes=of_tasks[0].classes,
        )
        rows.append(_row(inputs, CLASS_INCREMENTAL, joined, step=step, task=inputs.step))
        for task, test in zip(names, of_tasks, strict=True):
            predictions.append(test.rows({**_columns(inputs, CLASS_INCREMENTAL, step), "task": task}))
    frame = pd.concat(predictions, ignore_index=True)
    return Measurement(pd.DataFrame(rows), frame, {**inputs.previous, **metadata})


def with_probes(measured: Measurement, inputs: EvaluationInputs, run: UnitRunner = run_serially) -> Measurement:
    """Returns `measured` and the rows of the step's own model on the probes, among the classes of each one.

    The first step adds the pre-trained model. Where each task has a model of its own, none is of the probes: then the
    pre-trained model is tested.
    """
    if not inputs.probes:
        return measured
    last = inputs.step
    folders = {name: folder for name, (folder, _) in inputs.probes.items()}
    accuracies = {name: of_pretrained for name, (_, of_pretrained) in inputs.probes.items()}
    steps = [(PRETRAINED_STEP, accuracies)] if last == 0 else []
    if inputs.model_for(last, last + 1) == last:
        model = [list(inputs.models.values())[-1]]
        pairs = [(PRETRAINED_STEP, number) for number in range(len(folders))]  # the only model of the list
        tests = classify_all(
            pairs, models=model, tasks=list(folders.values()), settings=inputs.settings, run=run, name="probes"
        )
        accuracies = {name: (tests[pair].top1, tests[pair].count) for name, pair in zip(folders, pairs, strict=True)}
    protocol = str(measured.rows["protocol"].iloc[0])
    rows = []
    for step, of_step in (*steps, (last, accuracies)):
        columns = _columns(inputs, protocol, step)
        for name, (top1, count) in of_step.items():
            rows.append({**columns, "eval_task": name, "phase": PROBE, "top1": top1, "n": count})
    frame = pd.concat([measured.rows, pd.DataFrame(rows)], ignore_index=True)
    return Measurement(frame, measured.predictions, {**measured.metadata, **input_hashes({}, folders, kind=PROBE)})


def evaluate_probe(model: Path, task: Path, settings: EncodingSettings, run: UnitRunner = run_serially) -> Measurement:
    """Returns the row of the pre-trained `model` on a task that no step learns. Both are folders; no predictions."""
    metadata = _metadata({PRETRAINED: model}, {task.name: task}, settings, kind=PROBE)
    pair = PRETRAINED_STEP, 0
    test = classify_all([pair], models=[model], tasks=[task], settings=settings, run=run)[pair]
    columns = {"method": PRETRAINED, "protocol": TASK_INCREMENTAL, "step": PRETRAINED_STEP, "trained_task": PRETRAINED}
    row = {**columns, "eval_task": task.name, "phase": PROBE, "top1": test.top1, "n": test.count}
    return Measurement(pd.DataFrame([row]), pd.DataFrame(), metadata)


# By the value of evaluation.protocol in params.yaml.
PROTOCOLS: Mapping[str, Callable[[EvaluationInputs, UnitRunner], Measurement]] = {
    TASK_INCREMENTAL: evaluate_task_incremental,
    CLASS_INCREMENTAL: evaluate_class_incremental,
    CROSS_DOMAIN: evaluate_cross_domain,
}


def _matrix(
    inputs: EvaluationInputs, protocol: str, tests: Mapping[tuple[int, int], TestOutcome], metadata: dict[str, str]
) -> Measurement:
    """A row for each test, by its step and the number of its task."""
    names = list(inputs.tasks)
    rows, predictions = [], []
    for (step, task), test in tests.items():
        rows.append(_row(inputs, protocol, test, step=step, task=task))
        predictions.append(test.rows({**_columns(inputs, protocol, step), "task": names[task]}))
    ordered = pd.DataFrame(rows).sort_values(["step", "eval_task"], kind="stable", ignore_index=True)
    return Measurement(ordered, pd.concat(predictions, ignore_index=True), metadata)


def _metadata(
    models: Mapping[str, Path], tasks: Mapping[str, Path], settings: EncodingSettings, *, kind: str = "task"
) -> dict[str, str]:
    """The hashes of what is tested, and the limit of test images if there is one.

    It reads all weights. It comes before the tests, so that damaged ones end the stage before hours of work.
    """
    limit = {MAX_IMAGES: str(settings.limit.max_images)} if settings.limit else {}
    return {**input_hashes(models, tasks, kind=kind), **limit}


def _row(
    inputs: EvaluationInputs, protocol: str, test: TestOutcome, *, step: int, task: int
) -> dict[str, str | int | float]:
    """One row of artifacts.accuracy: the test after a step on the task with this number."""
    if step == PRETRAINED_STEP:
        phase = PRETRAINED
    elif task == step:
        phase = "current"
    else:
        phase = "past" if task < step else "future"
    columns = _columns(inputs, protocol, step)
    return {**columns, "eval_task": list(inputs.tasks)[task], "phase": phase, "top1": test.top1, "n": test.count}


def _columns(inputs: EvaluationInputs, protocol: str, step: int) -> dict[str, str | int]:
    """What accuracies and predictions both say of a model."""
    trained_task = PRETRAINED if step == PRETRAINED_STEP else list(inputs.tasks)[step]
    return {"method": inputs.method, "protocol": protocol, "step": step, "trained_task": trained_task}
