"""Which learning rate suits a task: what it gains on a validation part, and what it loses of what the model knew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gift_core.clip.model import load_folder
from gift_core.clip.test_set import TestSet, nearest_classes
from gift_core.report.accuracies import accuracy_interval


@dataclass(frozen=True)
class Score:
    """How many images of a set are classified correctly."""

    correct: int
    images: int

    @property
    def percent(self) -> float:
        """The accuracy."""
        return 100 * self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy for this number of images, in percent."""
        return accuracy_interval([self.percent], [self.images])


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

    `failed`: why other rates have no trial, such as losses that are not finite.
    """

    task: str
    start: Scores
    trials: Sequence[Trial]
    failed: Mapping[float, str] = field(default_factory=dict)

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
    """Returns how the model in the folder classifies the images of each set, by the name of its task."""
    clip = load_folder(model, device=device, precision=precision)
    return {each.task.name: _score(nearest_classes(clip, each), each.labels_N) for each in sets}


def _score(predicted_N: torch.Tensor, labels_N: torch.Tensor) -> Score:
    return Score(int((predicted_N == labels_N).sum()), len(labels_N))
