"""Evaluation of a step: predictions and top-1 accuracies of its models on the test sets, by a protocol.

Beside that, with_probes tests the step's model on tasks that no step learns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from gift_core.artifacts.accuracy import MAX_IMAGES, PRETRAINED, PRETRAINED_STEP, PROBE, input_hashes
from gift_core.artifacts.task import read_task
from gift_core.clip.task_tests import Classification, TestOutcome
from gift_core.computation import UnitRunner, run_serially
from gift_core.method.class_texts import require_distinct_classes
from gift_core.method.classifier import EncodingSettings, ModelAndTask, classify_all, classify_among_all
from gift_core.protocols import TASK_INCREMENTAL, Protocol


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
    protocol: Protocol
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

    @property
    def by_step(self) -> dict[int, Path]:
        """The folders of the models by their steps; -1 is the pre-trained model."""
        return dict(enumerate(self.models.values(), PRETRAINED_STEP))

    @property
    def folders(self) -> list[Path]:
        return list(self.tasks.values())


def newest_model(step: int, task: int) -> int:
    """Returns the model that classifies the images of `task` after `step`: the newest one, `step`.

    Both count from 0; -1 is the pre-trained model.
    """
    return step


def own_model(step: int, task: int) -> int:
    """Returns the task's own model once it exists, and the pre-trained one (-1) before: one model for each task."""
    return task if task <= step else PRETRAINED_STEP


def evaluate_step(inputs: EvaluationInputs, run: UnitRunner = run_serially) -> Measurement:
    """Returns the rows (artifacts.accuracy) that the step adds under its protocol, and what they are made of.

    Among the classes of the own task: an L (docs/decisions/0001), which is this step on every task so far (phase past
    or current), and every earlier step on the new task (phase future, or pretrained at step -1). So the matrix grows
    without measuring anything again. Among the classes of all tasks so far: the whole matrix, since a new task changes
    every accuracy (X-TAIL; RAIL, arXiv 2406.18868). Without a matrix: see _evaluate_together.
    The metadata hold the hash of every model and task, and the limit of test images if there is one.
    """
    if not inputs.protocol.has_matrix:
        return _evaluate_together(inputs, run)
    metadata = _metadata(inputs.models, inputs.tasks, inputs.settings)
    tests: Mapping[ModelAndTask, TestOutcome]
    if inputs.protocol.own_classes:
        tests = _among_own_classes(inputs, run)
    else:
        tests = classify_among_all(models=inputs.by_step, tasks=inputs.folders, settings=inputs.settings, run=run)
    rows = [_row(inputs, test, step=step, task=task) for (step, task), test in tests.items()]
    ordered = pd.DataFrame(rows).sort_values(["step", "eval_task"], kind="stable", ignore_index=True)
    return Measurement(ordered, _predictions(inputs, tests), metadata)


def _among_own_classes(inputs: EvaluationInputs, run: UnitRunner) -> dict[ModelAndTask, TestOutcome]:
    """The tests of the step and of the new task, by step and task. Two steps may be tested with one model."""
    last = inputs.step
    row = [(last, task) for task in range(last + 1)]
    column = [(step, last) for step in range(PRETRAINED_STEP, last)]
    models = {(step, task): (inputs.model_for(step, task), task) for step, task in row + column}
    pairs = list(models.values())
    tests = classify_all(pairs, models=inputs.by_step, tasks=inputs.folders, settings=inputs.settings, run=run)
    return {pair: tests[model_and_task] for pair, model_and_task in models.items()}


def _evaluate_together(inputs: EvaluationInputs, run: UnitRunner) -> Measurement:
    """The rows of the step's model and of the pre-trained one, over the test images of all tasks so far together.

    Each image is classified among the classes of all of them, with the templates of each class's own task. No other
    model is read: the metadata take the other hashes from the step before. UserError where two tasks share a class.
    """
    require_distinct_classes([read_task(folder) for folder in inputs.folders])
    names, last = list(inputs.models), inputs.step
    metadata = _metadata({name: inputs.models[name] for name in (names[0], names[-1])}, inputs.tasks, inputs.settings)
    models = {step: inputs.by_step[step] for step in (PRETRAINED_STEP, last)}
    tests = classify_among_all(models=models, tasks=inputs.folders, settings=inputs.settings, run=run)
    rows = []
    for step in models:
        of_tasks = [tests[step, task] for task in range(last + 1)]
        joined = Classification(
            predicted_N=torch.cat([test.predicted_N for test in of_tasks]),
            labels_N=torch.cat([test.labels_N for test in of_tasks]),
            positions_N=torch.cat([test.positions_N for test in of_tasks]),
            classes=of_tasks[0].classes,
        )
        rows.append(_row(inputs, joined, step=step, task=last))
    return Measurement(pd.DataFrame(rows), _predictions(inputs, tests), {**inputs.previous, **metadata})


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
        pairs = [(last, number) for number in range(len(folders))]
        tests = classify_all(
            pairs,
            models=inputs.by_step,
            tasks=list(folders.values()),
            settings=inputs.settings,
            run=run,
            name="probe accuracies",
        )
        accuracies = {name: (tests[pair].top1, tests[pair].count) for name, pair in zip(folders, pairs, strict=True)}
    rows = []
    for step, of_step in (*steps, (last, accuracies)):
        columns = _columns(inputs, step)
        for name, (top1, count) in of_step.items():
            rows.append({**columns, "eval_task": name, "phase": PROBE, "top1": top1, "n": count})
    frame = pd.concat([measured.rows, pd.DataFrame(rows)], ignore_index=True)
    return Measurement(frame, measured.predictions, {**measured.metadata, **input_hashes({}, folders, kind=PROBE)})


def evaluate_probe(model: Path, task: Path, settings: EncodingSettings, run: UnitRunner = run_serially) -> Measurement:
    """Returns the row of the pre-trained `model` on a task that no step learns. Both are folders; no predictions."""
    metadata = _metadata({PRETRAINED: model}, {task.name: task}, settings, kind=PROBE)
    pair = PRETRAINED_STEP, 0
    test = classify_all([pair], models={PRETRAINED_STEP: model}, tasks=[task], settings=settings, run=run)[pair]
    row = {"method": PRETRAINED, "protocol": TASK_INCREMENTAL.name, "step": PRETRAINED_STEP, "trained_task": PRETRAINED}
    row |= {"eval_task": task.name, "phase": PROBE, "top1": test.top1, "n": test.count}
    return Measurement(pd.DataFrame([row]), pd.DataFrame(), metadata)


def _predictions(inputs: EvaluationInputs, tests: Mapping[ModelAndTask, TestOutcome]) -> pd.DataFrame:
    """The rows of all tests, by step and task."""
    names = list(inputs.tasks)
    rows = [test.rows({**_columns(inputs, step), "task": names[task]}) for (step, task), test in tests.items()]
    return pd.concat(rows, ignore_index=True)


def _metadata(
    models: Mapping[str, Path], tasks: Mapping[str, Path], settings: EncodingSettings, *, kind: str = "task"
) -> dict[str, str]:
    """The hashes of what is tested, and the limit of test images if there is one.

    It reads all weights. It comes before the tests, so that damaged ones end the stage before hours of work.
    """
    limit = {MAX_IMAGES: str(settings.limit.max_images)} if settings.limit else {}
    return {**input_hashes(models, tasks, kind=kind), **limit}


def _row(inputs: EvaluationInputs, test: TestOutcome, *, step: int, task: int) -> dict[str, str | int | float]:
    """One row of artifacts.accuracy: the test after a step on the task with this number."""
    if step == PRETRAINED_STEP:
        phase = PRETRAINED
    elif task == step:
        phase = "current"
    else:
        phase = "past" if task < step else "future"
    columns = _columns(inputs, step)
    return {**columns, "eval_task": list(inputs.tasks)[task], "phase": phase, "top1": test.top1, "n": test.count}


def _columns(inputs: EvaluationInputs, step: int) -> dict[str, str | int]:
    """What accuracies and predictions both say of a model."""
    trained_task = PRETRAINED if step == PRETRAINED_STEP else list(inputs.tasks)[step]
    return {"method": inputs.method, "protocol": inputs.protocol.name, "step": step, "trained_task": trained_task}
