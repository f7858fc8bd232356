"""How a model is tested on the images of a task: they are classified, or images and captions are retrieved.

N images, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from gift_core.artifacts.predictions import prediction_rows
from gift_core.artifacts.task import CLASSES, PAIRS, TaskInfo
from gift_core.clip.encoding import predict
from gift_core.clip.model import Clip
from gift_core.clip.retrieval import Retrieval, retrieve
from gift_core.clip.test_sets import TestSet, encode_test_set


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
        return len(self.labels_N)

    def rows(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        """Returns the rows of artifacts.predictions. `columns` are method, protocol, step, trained_task and task."""
        return prediction_rows(
            columns,
            images=self.positions_N.numpy(),
            labels=self.labels_N.numpy(),
            predicted=self.predicted_N.numpy(),
            classes=self.classes,
        )


TestOutcome = Classification | Retrieval  # what a model makes of the test images of a task


def classify(clip: Clip, test_set: TestSet) -> dict[str, torch.Tensor]:
    """Returns the tensors of Classification: the class of the task that is nearest to each test image."""
    class_KD = test_set.class_features(clip)
    predicted_N = predict(encode_test_set(clip, test_set), class_KD).cpu()
    return {"predicted_N": predicted_N, "labels_N": test_set.labels_N, "positions_N": test_set.positions_N}


# By the kind of task: the tensors of a test.
TESTERS: Mapping[str, Callable[[Clip, TestSet], dict[str, torch.Tensor]]] = {CLASSES: classify, PAIRS: retrieve}


def outcome_of(task: TaskInfo, tensors: Mapping[str, torch.Tensor]) -> TestOutcome:
    """Returns the test of a model on a task, which has these tensors."""
    return Retrieval(**tensors) if task.kind == PAIRS else Classification(**tensors, classes=task.class_names)


def test_of(clip: Clip, test_set: TestSet) -> TestOutcome:
    """Tests a model on the test images of a task, by classification or by retrieval, as its kind says."""
    return outcome_of(test_set.task, TESTERS[test_set.task.kind](clip, test_set))
