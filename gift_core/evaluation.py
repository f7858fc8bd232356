"""Evaluation of a step: predictions and top-1 accuracies of its models on the test sets, by one of two protocols.

task_incremental: a test image is classified among the classes of its own task. class_incremental: among the classes of
all tasks so far. Beside that, with_probes tests the step's model on tasks that no step learns.

Shapes: B images of a batch, N images of a test set, K classes, C channels, H W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from gift_core.artifacts.accuracy import (
    CLASS_INCREMENTAL,
    PRETRAINED,
    PRETRAINED_STEP,
    PROBE,
    TASK_INCREMENTAL,
    input_hashes,
    noted_limit,
    probe_hashes,
)
from gift_core.artifacts.task import TaskInfo
from gift_core.classifier import EncodingSettings, classify_all
from gift_core.clip.device import resolve_device
from gift_core.clip.encoding import predict
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import Clip
from gift_core.clip.task_tests import Classification, Test
from gift_core.clip.test_set import TestSet, encode_test_set
from gift_core.computation import Advance, Computation, Run, State, in_turn
from gift_core.errors import UserError

KEY = "params.yaml: evaluation.protocol: class_incremental"


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

    def __post_init__(self) -> None:
        """Checks that there is one model for each task, and the pre-trained one before them."""
        assert list(self.models) == [PRETRAINED, *self.tasks], "models are pretrained and one after each task"

    @property
    def step(self) -> int:
        """This step, which trained the last of the tasks; counts from 0."""
        return len(self.tasks) - 1

    @property
    def noted_limit(self) -> dict[str, str]:
        """The limit of test images as metadata, empty if there is none."""
        limit = self.settings.limit
        return noted_limit(None if limit is None else limit.max_images)


def newest_model(step: int, task: int) -> int:
    """Returns the model that classifies the images of `task` after `step`: the newest one, `step`.

    Both count from 0; -1 is the pre-trained model.
    """
    return step


def own_model(step: int, task: int) -> int:
    """Returns the task's own model once it exists, and the pre-trained one (-1) before: one model for each task."""
    return task if task <= step else PRETRAINED_STEP


def evaluate_task_incremental(inputs: EvaluationInputs, run: Run = in_turn) -> Measurement:
    """Returns the rows (artifacts.accuracy) that the step adds to the accuracy matrix, and what they are made of.

    The rows form an L (docs/decisions/0001): this step on every task so far (phase past or current), and every earlier
    step on the new task (phase future, or pretrained at step -1). So the matrix grows without measuring anything again.
    The metadata hold the hash of every model and task, and the limit of test images if there is one.
    """
    metadata = {**input_hashes(inputs.models, inputs.tasks), **inputs.noted_limit}
    last, names = inputs.step, list(inputs.tasks)
    pairs = [(last, task) for task in range(last + 1)] + [(step, last) for step in range(PRETRAINED_STEP, last)]
    tests = classify_all(
        [(inputs.model_for(step, task), task) for step, task in pairs],
        models=list(inputs.models.values()),
        tasks=list(inputs.tasks.values()),
        settings=inputs.settings,
        run=run,
    )
    rows, predictions = [], []
    for step, task in pairs:
        test = tests[inputs.model_for(step, task), task]
        phase = "past" if task < step else "current" if task == step else "future"
        rows.append(_row(inputs, TASK_INCREMENTAL, test, step=step, eval_task=names[task], phase=phase))
        predictions.append(test.rows({**_columns(inputs, TASK_INCREMENTAL, step), "task": names[task]}))
    ordered = pd.DataFrame(rows).sort_values(["step", "eval_task"], kind="stable", ignore_index=True)
    return Measurement(ordered, pd.concat(predictions, ignore_index=True), metadata)


def evaluate_class_incremental(inputs: EvaluationInputs, run: Run = in_turn) -> Measurement:
    """Returns two rows (artifacts.accuracy), of the step's model and of the pre-trained one, with their predictions.

    Both are tested on the test sets of all tasks so far. Each image is classified among the classes of all of them,
    with the templates of each class's own task; top1 is over all images together. No other model is read: the metadata
    take the other hashes from the step before. UserError where each task has a model of its own, or two tasks share a
    class.
    """
    if inputs.model_for is not newest_model:
        raise UserError(
            f"{KEY}: {inputs.method} keeps a model of its own for every task, and no one model knows all classes. "
            f"Take {inputs.method} out of run.methods, or write task_incremental."
        )
    newest = list(inputs.tasks)[-1]
    models = {name: inputs.models[name] for name in (PRETRAINED, newest)}
    test_sets = [inputs.settings.open(folder, CacheBudget(0)) for folder in inputs.tasks.values()]
    require_distinct_classes([test_set.task for test_set in test_sets])
    hashes = {**input_hashes(models, inputs.tasks), **inputs.noted_limit}
    clips = [inputs.settings.load(folder) for folder in models.values()]
    load = partial(_load_encoder, inputs.settings, list(models.values()), list(inputs.tasks.values()))
    numbers, compute = range(len(test_sets)), partial(_encode, clips, test_sets)
    features = run(Computation("features", numbers, compute, load=load, rows=lambda number: 1, noun="test sets"))
    tests = _classify_among_all(clips, test_sets, features)
    rows, predictions = [], []
    for step, of_tasks in zip((PRETRAINED_STEP, inputs.step), tests, strict=True):
        rows.append(_row(inputs, CLASS_INCREMENTAL, _joined(of_tasks), step=step, eval_task=newest, phase="current"))
        for task, test in zip(inputs.tasks, of_tasks, strict=True):
            predictions.append(test.rows({**_columns(inputs, CLASS_INCREMENTAL, step), "task": task}))
    frame = pd.concat(predictions, ignore_index=True)
    return Measurement(pd.DataFrame(rows), frame, {**inputs.previous, **hashes})


def with_probes(measured: Measurement, inputs: EvaluationInputs, run: Run = in_turn) -> Measurement:
    """Returns `measured` and the rows of the step's own model on the probes, among the classes of each one.

    The first step adds the pre-trained model. Where each task has a model of its own, none is of the probes: then the
    pre-trained model is tested.
    """
    if not inputs.probes:
        return measured
    last, folders = inputs.step, {name: folder for name, (folder, _) in inputs.probes.items()}
    found = {name: of_pretrained for name, (_, of_pretrained) in inputs.probes.items()}
    steps = [(PRETRAINED_STEP, found)] if last == 0 else []
    if inputs.model_for(last, last + 1) == last:
        model = [list(inputs.models.values())[-1]]
        pairs = [(PRETRAINED_STEP, number) for number in range(len(folders))]  # the only model of the list
        tests = classify_all(
            pairs, models=model, tasks=list(folders.values()), settings=inputs.settings, run=run, name="probes"
        )
        found = {name: (tests[pair].top1, tests[pair].count) for name, pair in zip(folders, pairs, strict=True)}
    protocol = str(measured.rows["protocol"].iloc[0])
    rows = [
        {**_columns(inputs, protocol, step), "eval_task": name, "phase": PROBE, "top1": top1, "n": count}
        for step, accuracies in (*steps, (last, found))
        for name, (top1, count) in accuracies.items()
    ]
    frame = pd.concat([measured.rows, pd.DataFrame(rows)], ignore_index=True)
    return Measurement(frame, measured.predictions, {**measured.metadata, **probe_hashes(folders)})


def evaluate_probe(model: Path, task: Path, settings: EncodingSettings, run: Run = in_turn) -> Measurement:
    """Returns the row of the pre-trained `model` on a task that no step learns. Both are folders; no predictions."""
    hashes = {**input_hashes({PRETRAINED: model}, {}), **probe_hashes({task.name: task})}
    pair = PRETRAINED_STEP, 0
    test = classify_all([pair], models=[model], tasks=[task], settings=settings, run=run)[pair]
    limit = noted_limit(None if settings.limit is None else settings.limit.max_images)
    row = {
        "method": PRETRAINED, "protocol": TASK_INCREMENTAL, "step": PRETRAINED_STEP, "trained_task": PRETRAINED,
        "eval_task": task.name, "phase": PROBE, "top1": test.top1, "n": test.count,
    }  # fmt: skip
    return Measurement(pd.DataFrame([row]), pd.DataFrame(), {**hashes, **limit})


# By the value of evaluation.protocol in params.yaml.
PROTOCOLS: Mapping[str, Callable[[EvaluationInputs, Run], Measurement]] = {
    TASK_INCREMENTAL: evaluate_task_incremental,
    CLASS_INCREMENTAL: evaluate_class_incremental,
}


def require_distinct_classes(tasks: Sequence[TaskInfo]) -> None:
    """Raises UserError where two tasks have a class of the same name: no model could distinguish their images.

    Case and spaces make no difference, as they make none to CLIP's tokenizer.
    """
    owners: dict[str, tuple[str, str]] = {}
    for task in tasks:
        for name in task.class_names:
            other, spelling = owners.setdefault(" ".join(name.casefold().split()), (task.name, name))
            if other != task.name:
                both = repr(name) if name == spelling else f"{spelling!r} and {name!r}"
                raise UserError(
                    f"{KEY}: tasks {other} and {task.name} both have the class {both}, so no model can say which of "
                    "the two an image shows. Rename or remove one of them, or write task_incremental."
                )


def _joined(tests: Sequence[Classification]) -> Classification:
    """Tests among the same classes as one."""
    predicted_N, labels_N, positions_N = (
        torch.cat([getattr(test, name) for test in tests]) for name in ("predicted_N", "labels_N", "positions_N")
    )
    return Classification(predicted_N, labels_N, positions_N, tests[0].classes)


def _encode(
    clips: Sequence[Clip], test_sets: Sequence[TestSet], numbers: Iterable[int], advance: Advance
) -> Iterator[State]:
    """Yields the features of each test set by each model, by the numbers of both."""
    for number in numbers:
        features = encode_test_set(clips, test_sets[number])
        advance(1)
        yield State({_key(number, clip): image_ND for clip, image_ND in enumerate(features)})


def _load_encoder(
    settings: EncodingSettings, models: Sequence[Path], tasks: Sequence[Path]
) -> Callable[[Iterable[int], Advance], Iterator[State]]:
    """In another process: returns what encodes test sets."""
    resolve_device(str(settings.device))
    test_sets = [settings.open(task, CacheBudget(0)) for task in tasks]
    return partial(_encode, [settings.load(folder) for folder in models], test_sets)


def _key(test_set: int, clip: int) -> str:
    return f"{test_set} by {clip}"


def _classify_among_all(
    clips: Sequence[Clip], test_sets: Sequence[TestSet], features: State
) -> list[list[Classification]]:
    """A test for each model and test set, [model][test set], among the classes of all; labels count on."""
    labels: list[torch.Tensor] = []
    classes: list[str] = []
    for test_set in test_sets:
        labels.append(test_set.labels_N + len(classes))
        classes += test_set.task.class_names
    tests = []
    for number, clip in enumerate(clips):
        class_KD = torch.cat([test_set.class_features(clip) for test_set in test_sets])
        of_clip = [features.tensors[_key(each, number)].to(class_KD.device) for each in range(len(test_sets))]
        predicted_N = predict(torch.cat(of_clip), class_KD).cpu()
        parts = torch.split(predicted_N, [len(labels_N) for labels_N in labels])
        of_sets = zip(parts, labels, test_sets, strict=True)
        tests.append(
            [Classification(part_N, labels_N, images.positions_N, classes) for part_N, labels_N, images in of_sets]
        )
    return tests


def _row(
    inputs: EvaluationInputs, protocol: str, test: Test, *, step: int, eval_task: str, phase: str
) -> dict[str, str | int | float]:
    """One row of artifacts.accuracy; at step -1 trained_task and phase are "pretrained"."""
    own_phase = PRETRAINED if step == PRETRAINED_STEP else phase
    columns = _columns(inputs, protocol, step)
    return {**columns, "eval_task": eval_task, "phase": own_phase, "top1": test.top1, "n": test.count}


def _columns(inputs: EvaluationInputs, protocol: str, step: int) -> dict[str, str | int]:
    """What accuracies and predictions both say of a model."""
    trained_task = PRETRAINED if step == PRETRAINED_STEP else list(inputs.tasks)[step]
    return {"method": inputs.method, "protocol": protocol, "step": step, "trained_task": trained_task}
