"""Which learning rate suits a task: what it gains on a validation part, and what it loses of what the model knew.

The validation part is the data set's own, or has training images of each class, sampled by seed. No test image is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from gift_core.artifacts.tars import image_extension
from gift_core.artifacts.task import (
    CLASSES,
    PAIRS,
    LabeledImage,
    StoredImage,
    TaskInfo,
    index_task,
    read_task,
    write_task,
)
from gift_core.clip.model import open_folder
from gift_core.clip.task_tests import test_of
from gift_core.clip.test_set import TestSet
from gift_core.errors import UserError
from gift_core.report.accuracies import Score
from gift_core.seeds import seed_for

HELD_OUT = 0.2  # of each class


def hold_out(
    source: Path, target: Path, *, seed: int, images_per_shard: int, validation: Iterable[LabeledImage] | None = None
) -> TaskInfo:
    """Writes the task `source` with a validation part in place of its test split.

    That is `validation`, or HELD_OUT of the training images of each class. A class with one image keeps it for
    training. UserError if no image can be held out.
    """
    info, images = read_task(source), index_task(source, "train")
    if validation is not None:
        return write_task(target, info, map(_labeled, images), validation, images_per_shard=images_per_shard)
    held = _sampled(info, images, HELD_OUT, seed)
    if not held:
        raise UserError(
            f"{source}: no class has two training images, so none can be held out for validation. Add images."
        )
    rest = [_labeled(image) for position, image in enumerate(images) if position not in held]
    chosen = [_labeled(images[position]) for position in sorted(held)]
    return write_task(target, info, rest, chosen, images_per_shard=images_per_shard)


def sample_training_images(source: Path, target: Path, *, most: int, seed: int) -> TaskInfo:
    """Writes about `most` training images of the task `source`, each class with its share, as the test split."""
    info, images = read_task(source), index_task(source, "train")
    held = _sampled(info, images, min(1.0, most / max(1, len(images))), seed)
    chosen = [_labeled(images[position]) for position in sorted(held)]
    return write_task(target, info, [], chosen, images_per_shard=most)


def _sampled(info: TaskInfo, images: list[StoredImage], share: float, seed: int) -> set[int]:
    """The positions of `share` of each class, at least one. If the share is not all, one image is left over, too."""
    found: set[int] = set()
    for label, name in enumerate(info.class_names) if info.kind == CLASSES else [(None, PAIRS)]:
        own = [position for position, image in enumerate(images) if label in (None, image.label)]
        count = len(own) if share == 1 else min(max(1, round(share * len(own))), len(own) - 1)
        order = np.random.default_rng(seed_for("hold out", seed, info.name, name)).permutation(len(own))
        found |= {own[index] for index in order[: max(0, count)]}
    return found


def _labeled(image: StoredImage) -> LabeledImage:
    content = image.read()
    return content, image_extension(content), image.captions or image.label


Scores = Mapping[str, Score]  # by task


@dataclass(frozen=True)
class Trial:
    """A training run at one rate."""

    rate: float
    scores: Scores
    seconds: float


@dataclass(frozen=True)
class RateSearch:
    """The trials of a task in the order of their rates, at least one, and the scores of the model they start from.

    `failed`: why other rates have no trial, such as losses that are not finite. `metric`: what is measured on the task.
    """

    task: str
    start: Scores
    trials: Sequence[Trial]
    failed: Mapping[float, str] = field(default_factory=dict)
    metric: str = "accuracy"

    def gained(self, trial: Trial) -> float:
        """Points of accuracy on the validation part of the task."""
        return trial.scores[self.task].percent - self.start[self.task].percent

    def lost(self, trial: Trial) -> float:
        """Points of accuracy on everything else that was measured, in the mean; 0 if nothing else was."""
        others = [name for name in self.start if name != self.task]
        return sum(self.start[name].percent - trial.scores[name].percent for name in others) / max(1, len(others))

    @property
    def best(self) -> Trial:
        """The trial that gains the most on the task minus what it loses elsewhere; of equals that with the lowest rate.

        The task counts as much as all others together.
        """
        return max(self.trials, key=lambda trial: (round(self.gained(trial) - self.lost(trial), 4), -trial.rate))

    @property
    def similar(self) -> list[Trial]:
        """The other trials whose accuracy on the task is within the interval of the best one."""
        low, high = self.best.scores[self.task].interval
        others = [trial for trial in self.trials if trial is not self.best]
        return [trial for trial in others if low <= trial.scores[self.task].percent <= high]


def measure(model: Path, sets: Sequence[TestSet], *, device: torch.device, precision: str) -> dict[str, Score]:
    """Returns how many images of each set the model in the folder gets right, by the name of its task.

    In a task of pairs that is Recall@1 times their number, rounded.
    """
    clip = open_folder(model, device=device, precision=precision)
    tests = {each.task.name: test_of(clip, each) for each in sets}
    return {task: Score(round(test.top1 * test.count), test.count) for task, test in tests.items()}
