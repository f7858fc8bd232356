"""How a model is tested on the tasks of each kind: its test images are classified, or images and captions retrieved.

N images of a test set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from gift_core.artifacts.predictions import prediction_rows
from gift_core.artifacts.task import CLASSES, PAIRS
from gift_core.clip.model import Clip
from gift_core.clip.retrieval import Retrieval, queries, retrieve
from gift_core.clip.test_set import TestSet, nearest_classes


@dataclass(frozen=True)
class Classification:
    """What a model says of test images, int64 [N] on the CPU: predicted and label are indices into `classes`.

    `positions_N`: of the images in their task's test set.
    """

    predicted_N: torch.Tensor
    labels_N: torch.Tensor
    positions_N: torch.Tensor
    classes: Sequence[str]

    @property
    def top1(self) -> float:
        """The accuracy (0-1)."""
        return float((self.predicted_N == self.labels_N).double().mean())

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.labels_N)

    def rows(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        """Returns the rows of artifacts.predictions. `columns` are method, protocol, step, trained_task and task."""
        labels, predicted, images = (each.numpy() for each in (self.labels_N, self.predicted_N, self.positions_N))
        return prediction_rows(columns, images=images, labels=labels, predicted=predicted, classes=self.classes)


TestOutcome = Classification | Retrieval  # what a model makes of the test images of a task


@dataclass(frozen=True)
class TaskTester:
    """How tasks of a kind are tested: the tensors of a model, those of the test images alone, and the test they make.

    `test` takes them by name, and the class names of the task.
    """

    of_model: Callable[[Clip, TestSet], dict[str, torch.Tensor]]
    of_images: Callable[[TestSet], dict[str, torch.Tensor]]
    test: Callable[..., TestOutcome]


TESTERS: Mapping[str, TaskTester] = {
    CLASSES: TaskTester(
        lambda clip, images: {"predicted_N": nearest_classes(clip, images)},
        lambda images: {"labels_N": images.labels_N, "positions_N": images.positions_N},
        Classification,
    ),
    PAIRS: TaskTester(retrieve, queries, lambda classes, **tensors: Retrieval(**tensors)),
}


def test_of(clip: Clip, test_set: TestSet) -> TestOutcome:
    """Returns the test of a model on test images."""
    tester = TESTERS[test_set.task.kind]
    return tester.test(
        classes=test_set.task.class_names, **tester.of_model(clip, test_set), **tester.of_images(test_set)
    )
