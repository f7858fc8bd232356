"""Test images that one method forgot and another one kept, and the classes that are confused most at the end.

Both come from the predictions of the stage evaluate (artifacts.predictions). N test images of a task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gift_core.artifacts.accuracy import CROSS_DOMAIN
from gift_core.artifacts.contract import broken
from gift_core.artifacts.predictions import read_predictions
from gift_core.artifacts.task import CLASSES, STAGE, TaskInfo, describe_task, images_at
from gift_core.layout import Layout
from gift_core.report.highlight import QUIET, best_method, reading_order, styles_of
from gift_core.report.run_record import RunRecord
from gift_core.report.thumbnails import Thumbnail, a_few, thumbnail

MAX_TASKS = 12
IMAGES_PER_TASK = 8
PAIRS_PER_METHOD = 4

Infos = Mapping[str, TaskInfo]


@dataclass(frozen=True)
class KeptImage:
    """A test image of a class, and what the two methods predict at the end."""

    thumbnail: Thumbnail
    label: str
    forgetful: str
    keeper: str


@dataclass(frozen=True)
class KeptTask:
    """The test images of a task that the forgetful method classified correctly right after learning it.

    Attributes:
        learned: their number.
        forgotten: how many of them the forgetful method misclassifies at the end.
        kept: how many of these the other method classifies correctly at the end.
        reverse: images that the other method had learned and has forgotten, and that the forgetful one has not.
        images: a few of the kept ones; empty if the test images are not on this machine.
    """

    position: int
    task: str
    learned: int
    forgotten: int
    kept: int
    reverse: int
    images: tuple[KeptImage, ...]


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that a method takes for another one; `task` is the other class's, empty if it is the same."""

    label: str
    predicted: str
    task: str
    count: int


@dataclass(frozen=True)
class MethodErrors:
    """The errors of a method on a task at the end: their number, that of the test images, the most frequent pairs."""

    method: str
    errors: int
    total: int
    pairs: tuple[ConfusedPair, ...]


@dataclass(frozen=True)
class ConfusedTask:
    """A task and the errors of each method."""

    position: int
    task: str
    methods: tuple[MethodErrors, ...]


@dataclass(frozen=True)
class PredictionPictures:
    """What the predictions show. `missing`: methods whose predictions are not on this machine.

    `forgetful` and `keeper` are the methods of `kept`, None if there are no two to compare. `missing_images`: tasks
    whose test images are not on this machine.
    """

    forgetful: str | None
    keeper: str | None
    kept: tuple[KeptTask, ...]
    confused: tuple[ConfusedTask, ...]
    missing: tuple[str, ...]
    missing_images: tuple[str, ...]


def read_prediction_pictures(layout: Layout, record: RunRecord) -> PredictionPictures:
    """The kept images and confused classes of a run.

    Of a long sequence, MAX_TASKS tasks at even distances; of many methods, the highlighted ones. ContractError if
    predictions are damaged or not those of the accuracies.
    """
    if not record.methods:
        return PredictionPictures(None, None, (), (), (), ())
    answers = _AnswersOf(layout, record)
    infos = {task: describe_task(layout.task(task)) for task in record.tasks}
    styles, shown = styles_of(record), reading_order(record, record.methods)
    methods = [method for method in shown if styles[method] != QUIET]
    missing = tuple(method for method in methods if not answers.are_here(method))
    keeper, forgetful = best_method(record), forgetful_method(record)
    kept: tuple[KeptTask, ...] = ()
    if forgetful is not None and answers.are_here(keeper) and answers.are_here(forgetful):
        positions = [at for at in _with_classes(infos) if at < len(record.tasks) - 1]  # the last one is not forgotten
        positions = a_few(positions, MAX_TASKS)
        kept = tuple(_kept_task(answers, infos, at, forgetful=forgetful, keeper=keeper) for at in positions)
    return PredictionPictures(
        forgetful=forgetful,
        keeper=keeper,
        kept=kept,
        confused=_confused_tasks(answers, infos, [method for method in methods if method not in missing]),
        missing=missing,
        missing_images=tuple(each.task for each in kept if each.kept and not each.images),
    )


def _with_classes(infos: Infos) -> list[int]:
    """The positions of the tasks with classes. What is retrieved in the others has a section of its own."""
    return [at for at, info in enumerate(infos.values()) if info.kind == CLASSES]


def forgetful_method(record: RunRecord) -> str | None:
    """The method that the best one is compared with: the first plain fine-tuning, else the first without replay, else
    the one with the largest Forgetting (class-incremental: the lowest Last). None if there is no other method."""
    best = best_method(record)
    others = [method for method in record.continued if method != best and method not in record.references]
    for preferred in (record.plain_methods, record.without_replay):
        found = [method for method in others if method in preferred]
        if found:
            return found[0]
    return max(others, key=lambda method: _forgetting(record, method)) if others else None


def _forgetting(record: RunRecord, method: str) -> float:
    scores = record.scores[method]
    forgetting, last = scores.get("forgetting"), scores["last"]
    return forgetting if forgetting is not None else -(last or 0.0)


@dataclass(frozen=True)
class _Answers:
    """label and predicted class of the N tested images of a task, by name, and their positions in the test set."""

    image_N: npt.NDArray[np.int_]
    label_N: npt.NDArray[np.object_]
    predicted_N: npt.NDArray[np.object_]

    @property
    def correct_N(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.label_N == self.predicted_N, dtype=bool)


class _AnswersOf:
    """The predictions of methods. Each file is read once and compared with its accuracies."""

    def __init__(self, layout: Layout, record: RunRecord) -> None:
        self.layout, self.tasks = layout, record.tasks
        self._whole = record.protocol == CROSS_DOMAIN  # the last file has the tests of all models
        self._read: dict[tuple[str, str], pd.DataFrame] = {}

    def are_here(self, method: str) -> bool:
        """Whether all prediction files of the method are on this machine."""
        return all(self.layout.predictions(method, task).is_file() for task in self.tasks)

    def of(self, method: str, *, after: str, task: str) -> _Answers:
        """What the method's model after the step `after` predicts on the test images of `task`."""
        step = self.tasks[-1] if self._whole else after
        if (method, step) not in self._read:
            self._read[method, step], _ = read_predictions(self.layout.predictions(method, step))
        rows = self._read[method, step]
        own = rows[(rows["step"] == self.tasks.index(after)) & (rows["task"] == task)]
        label_N, predicted_N = (own[name].to_numpy(dtype=object) for name in ("label", "predicted"))
        return _Answers(own["image"].to_numpy(), label_N, predicted_N)

    def at_the_end(self, method: str, task: str) -> _Answers:
        """What the method's last model predicts on the test images of `task`."""
        return self.of(method, after=self.tasks[-1], task=task)


def _kept_task(answers: _AnswersOf, infos: Infos, at: int, *, forgetful: str, keeper: str) -> KeptTask:
    task = answers.tasks[at]
    learned, forgot = answers.of(forgetful, after=task, task=task), answers.at_the_end(forgetful, task)
    had, kept = answers.of(keeper, after=task, task=task), answers.at_the_end(keeper, task)
    for other in (forgot, had, kept):
        same = np.array_equal(other.image_N, learned.image_N) and np.array_equal(other.label_N, learned.label_N)
        if not same:
            path = answers.layout.predictions(keeper, answers.tasks[-1])
            raise broken(path, f"the test images of {task} should be those of the other predictions", "evaluate")
    forgotten_N = learned.correct_N & ~forgot.correct_N
    kept_N = forgotten_N & kept.correct_N
    return KeptTask(
        position=at + 1,
        task=task,
        learned=int(learned.correct_N.sum()),
        forgotten=int(forgotten_N.sum()),
        kept=int(kept_N.sum()),
        reverse=int((had.correct_N & ~kept.correct_N & forgot.correct_N).sum()),
        images=_images(answers.layout, infos[task], np.flatnonzero(kept_N).tolist(), forgot, kept),
    )


def _images(
    layout: Layout, info: TaskInfo, numbers: Sequence[int], forgot: _Answers, kept: _Answers
) -> tuple[KeptImage, ...]:
    """A few of these of the N images; none if a tar of the test set is not on this machine."""
    folder, chosen = layout.task(info.name), a_few(numbers, IMAGES_PER_TASK)
    if not all((folder / name).is_file() for name in info.shards("test")):
        return ()
    positions = {at: int(kept.image_N[at]) for at in chosen}
    stored = images_at(folder, info, "test", positions.values())
    images = []
    for at, position in positions.items():
        label = info.class_names[stored[position].label]
        if label != kept.label_N[at]:
            expected = f"should be of class {kept.label_N[at]!r} as in the predictions"
            what = f"test image {position} {expected}, it is {label!r}"
            raise broken(folder, what, STAGE)
        picture = thumbnail(label, stored[position].read(), file=folder, stage=STAGE)
        images.append(KeptImage(picture, label, str(forgot.predicted_N[at]), str(kept.predicted_N[at])))
    return tuple(images)


def _confused_tasks(answers: _AnswersOf, infos: Infos, methods: Sequence[str]) -> tuple[ConfusedTask, ...]:
    if not methods:
        return ()
    owners = {name: task for task, info in infos.items() if info.kind == CLASSES for name in info.class_names}
    tasks = []
    for at in a_few(_with_classes(infos), MAX_TASKS):
        task = answers.tasks[at]
        own = dict.fromkeys(infos[task].class_names, task)  # two tasks may share a name
        errors = (_errors(method, answers.at_the_end(method, task), {**owners, **own}, task) for method in methods)
        tasks.append(ConfusedTask(at + 1, task, tuple(errors)))
    return tuple(tasks)


def _errors(method: str, answers: _Answers, owners: Mapping[str, str], task: str) -> MethodErrors:
    """`owners` has the task of each class."""
    wrong_N = ~answers.correct_N
    counts = Counter(zip(answers.label_N[wrong_N], answers.predicted_N[wrong_N], strict=True))
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:PAIRS_PER_METHOD]
    pairs = (
        ConfusedPair(label, predicted, "" if owners.get(predicted) == task else owners.get(predicted, ""), count)
        for (label, predicted), count in most
    )
    return MethodErrors(method, int(wrong_N.sum()), len(wrong_N), tuple(pairs))
