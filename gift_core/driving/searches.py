"""Which learning rate suits a task, and which alpha suits a method's release. No test image is read.

A rate: what the task gains on a validation part, and what is lost of what the model knew. An alpha: what the learned
tasks lose against the trained model, and what probes gain. The validation part is the data set's own, or has training
images of each class, sampled by seed. N images of a task, or images and captions where captions are retrieved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from gift_core.artifacts.model_folder import WEIGHTS, model_hash, require_chain
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
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import Clip, open_folder
from gift_core.clip.task_tests import Classification, TestOutcome, test_of
from gift_core.clip.test_sets import TestSet
from gift_core.config.experiment import Config
from gift_core.datasets.dataset import sampled_by_seed
from gift_core.datasets.ingest import validation_images
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.method.averaging import released_weights
from gift_core.method.classifier import EncodingSettings
from gift_core.method.metrics import Score
from gift_core.progress import progress

HELD_OUT = 0.2  # of each class
MOST = 500  # training images of each task that are tested


def hold_out(
    source: Path, target: Path, *, seed: int, images_per_shard: int, validation: Iterable[LabeledImage] | None = None
) -> TaskInfo:
    """Writes the task `source` with a validation part in place of its test split.

    That is `validation`, or HELD_OUT of the training images of each class. A class with one image keeps it for
    training. UserError if no image can be held out.
    """
    info = read_task(source)
    images = index_task(source, "train")
    held: list[int] = []
    if validation is None:
        held = _sampled(info, images, HELD_OUT, seed)
        validation = (_labeled(images[at]) for at in held)
        if not held:
            problem = "no class has two training images, so none can be held out for validation"
            raise UserError(f"{source}: {problem}. Add images.")
    rest = (_labeled(images[at]) for at in sorted({*range(len(images))} - {*held}))
    return write_task(target, info, rest, validation, images_per_shard=images_per_shard)


def sample_training_images(source: Path, target: Path, *, seed: int) -> TaskInfo:
    """Writes about MOST training images of the task `source`, each class with its share, as the test split."""
    info, images = read_task(source), index_task(source, "train")
    held = _sampled(info, images, min(1.0, MOST / max(1, len(images))), seed)
    return write_task(target, info, [], (_labeled(images[at]) for at in held), images_per_shard=MOST)


def _sampled(info: TaskInfo, images: list[StoredImage], share: float, seed: int) -> list[int]:
    """The positions of `share` of each class, at least one. If the share is not all, one image is left over, too."""
    sampled: list[int] = []
    for label, name in enumerate(info.class_names) if info.kind == CLASSES else [(None, PAIRS)]:
        of_class = [position for position, image in enumerate(images) if label in (None, image.label)]
        count = len(of_class)
        if share < 1:
            count = min(max(1, round(share * count)), count - 1)
        sampled += sampled_by_seed(of_class, max(0, count), "hold out", seed, info.name, name)
    return sorted(sampled)


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


def measure(model: Path, sets: Sequence[TestSet], *, device: torch.device, precision: str) -> dict[str, Score]:
    """Returns how many images of each set the model in the folder gets right, by the name of its task.

    In a task of pairs that is Recall@1 times their number, rounded.
    """
    clip = open_folder(model, device=device, precision=precision)
    tests = {test_set.task.name: test_of(clip, test_set) for test_set in sets}
    return {task: Score(round(test.top1 * test.count), test.count) for task, test in tests.items()}


Answers = Mapping[str, np.ndarray]  # by task


class Difference(NamedTuple):
    """A difference of mean accuracies in points, and its standard error."""

    points: float
    error: float


@dataclass(frozen=True)
class Release:
    """A release that was tested: which answers are right on each learned task and on each probe.

    Answers are float [N], with the accuracy (0-1) as their mean.
    """

    alpha: float
    tasks: Answers
    probes: Answers

    @property
    def learned(self) -> float:
        """The mean accuracy on the learned tasks in percent."""
        return _mean_percent(self.tasks)

    @property
    def kept(self) -> float | None:
        """The mean accuracy on the probes in percent, None without any."""
        return _mean_percent(self.probes) if self.probes else None


def _mean_percent(answers: Answers) -> float:
    return 100 * float(np.mean([right.mean() for right in answers.values()]))


def _difference(now: Answers, before: Answers) -> Difference:
    """Returns by how many points the mean accuracy is higher, and the standard error of that, paired by image."""
    if not now:
        return Difference(0.0, 0.0)
    differences = [now[task] - right for task, right in before.items()]
    variance = sum(of_task.var() / len(of_task) for of_task in differences)
    return Difference(_mean_percent(now) - _mean_percent(before), 100 * math.sqrt(variance) / len(differences))


@dataclass(frozen=True)
class AlphaSearch:
    """The releases in the order of their alphas. The last one, 1, is the trained model.

    `unseen`: of each learned task, whether no model has seen the images that it is tested on.
    """

    releases: Sequence[Release]
    unseen: Mapping[str, bool]

    def learned_change(self, release: Release) -> Difference:
        """Returns what the learned tasks gain over alpha 1."""
        return _difference(release.tasks, self.releases[-1].tasks)

    def kept_change(self, release: Release) -> Difference:
        """Returns what the probes gain over alpha 1."""
        return _difference(release.probes, self.releases[-1].probes)

    @property
    def proposed(self) -> Release:
        """The one with the highest sum of both means, learned and kept: a point of one pays for a point of the other.

        Of equals that with the smallest alpha; 0 has learned nothing. Without probes, that with the smallest alpha at
        which, and at all above it, the learned tasks lose no more than a standard error.
        """
        if self.releases[-1].probes:
            learned = [release for release in self.releases if release.alpha > 0]
            return max(learned, key=lambda release: round(release.learned + (release.kept or 0.0), 4))
        smallest = self.releases[-1]
        for release in reversed(self.releases):
            change = self.learned_change(release)
            if change.points < -change.error - 1e-9:
                break
            smallest = release
        return smallest

    def steps(self, release: Release) -> list[tuple[float, float, float]]:
        """Returns the neighbors of a release: (alpha, points of learned gained there, points of kept gained there)."""
        at = self.releases.index(release)
        neighbors = [*self.releases[max(0, at - 1) : at], *self.releases[at + 1 : at + 2]]
        kept = release.kept or 0.0
        return [(near.alpha, near.learned - release.learned, (near.kept or 0.0) - kept) for near in neighbors]


def write_validation_parts(layout: Layout, config: Config, folder: Path) -> dict[str, bool]:
    """Writes each task of the sequence and each probe into `folder`, with validation images as its test split.

    These are the data set's own ones, which no model has seen, or else MOST training images. Returns which they are:
    {task of the sequence: whether no model has seen them}. No method learns a probe: none has seen its training images.
    """
    unseen, learned = {}, [step.task for step in config.sequence]
    for task in (*learned, *config.evaluation.probes):
        row, source = config.tasks[task], layout.task(task)
        validation = validation_images(task, row, stored=config.ingest, seed=config.seed, root=layout.root)
        unseen[task] = validation is not None
        if validation is None:
            sample_training_images(source, folder / task, seed=config.seed)
        else:
            write_task(folder / task, read_task(source), [], validation, images_per_shard=MOST)
    return {task: unseen[task] for task in learned}


def search_alphas(
    layout: Layout, config: Config, method: str, alphas: Sequence[float], *, folder: Path, settings: EncodingSettings
) -> AlphaSearch:
    """Tests the releases of a method's last model at `alphas` and at 1. Writes the validation images into `folder`."""
    pretrained, trained = layout.pretrained(), layout.model(method, config.sequence[-1].task)
    require_chain([pretrained, *(layout.model(method, step.task) for step in config.sequence)])
    unseen = write_validation_parts(layout, config, folder)
    for model in (trained, pretrained):
        model_hash(model)
    start, end = (load_file(model / WEIGHTS) for model in (pretrained, trained))
    clip, budget = settings.load(trained), CacheBudget()
    learned = {task: settings.open(folder / task, budget) for task in unseen}
    probes = {name: settings.open(folder / name, budget) for name in config.evaluation.probes}
    chosen, releases = sorted({*alphas, 1.0}), []
    for alpha in progress(chosen, len(chosen), "alphas"):
        clip.model.load_state_dict(released_weights(end, start, alpha=alpha))
        releases.append(Release(alpha, _answers(clip, learned), _answers(clip, probes)))
    return AlphaSearch(releases, unseen)


def _answers(clip: Clip, sets: Mapping[str, TestSet]) -> Answers:
    return {task: right_of(test_of(clip, images)) for task, images in sets.items()}


def right_of(test: TestOutcome) -> np.ndarray:
    """Returns which answers of a test are right, float [N]. Its mean is top1: images and captions count the same."""
    if isinstance(test, Classification):
        return (test.predicted_N == test.labels_N).double().numpy()
    counts = np.array([test.count, len(test.ranks_Q) - test.count])
    return (test.ranks_Q == 1).numpy() * np.repeat(len(test.ranks_Q) / 2 / counts, counts)
