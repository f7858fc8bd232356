"""What a step's model knows: top-1 accuracies, by one of two protocols.

By the name of evaluation.protocol in params.yaml: task_incremental (a test image is told apart among the classes of its
own task) and class_incremental (among those of all tasks so far).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from gift_core.artifacts.accuracy import PRETRAINED
from gift_core.evaluation.chain import Encoding, EvaluationCell, Measured
from gift_core.evaluation.class_incremental import evaluate_seen, seen_in_words
from gift_core.evaluation.task_incremental import evaluate_matrix, matrix_in_words, newest_model, own_model

__all__ = ["PRETRAINED", "PROTOCOLS", "Encoding", "EvaluationCell", "EvaluationProtocol", "newest_model", "own_model"]


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a step is tested: its rows with what they were measured on, and the rows in one line."""

    evaluate: Callable[[EvaluationCell], Measured]
    in_words: Callable[[pd.DataFrame], str]


PROTOCOLS: Mapping[str, EvaluationProtocol] = {
    "task_incremental": EvaluationProtocol(evaluate_matrix, matrix_in_words),
    "class_incremental": EvaluationProtocol(evaluate_seen, seen_in_words),
}
