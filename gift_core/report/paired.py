"""The paired test of two methods of a run: the exact McNemar test on the images that both are tested on.

Of the images on which the two differ, each method gets half by chance if they are equally good. Where a metric has
several tests of an image (Transfer, Forgetting, Avg), the image counts for the method that is right in more of them.
That is the sign test, and McNemar's is its case of one test. Neither sees what another seed would change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from gift_core.artifacts.accuracy import PRETRAINED_STEP
from gift_core.artifacts.predictions import read_predictions
from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.run_record import RunRecord

LEVEL = 0.05  # a larger p is noise


@dataclass(frozen=True)
class PairedTest:
    """On how many of `images` the first method is better than the second one, and on how many it is worse."""

    images: int
    better: int
    worse: int

    @property
    def p(self) -> float:
        """The two-sided p of the exact test, 1 where no image differs."""
        from scipy.stats import binomtest  # type: ignore[import-untyped]  # here, because importing it takes a second

        differing = self.better + self.worse
        return float(binomtest(self.better, differing).pvalue) if differing else 1.0

    def is_noise(self, difference: float) -> bool:
        """Whether a difference of means over tasks is noise: p is large, or the images say the opposite.

        The test pools the images of all tasks, so a large task counts more than in the mean.
        """
        return self.p >= LEVEL or (self.better > self.worse) != (difference > 0)


def paired_tests(record: RunRecord, method: str, other: str, metric: str) -> dict[str, PairedTest]:
    """Returns the test of two methods on each task that counts for the metric: last, transfer, forgetting or avg.

    {} if predictions of one are not on this machine.
    """
    needed = {name for name in (method, other) if name != ZERO_SHOT} or {record.methods[0]}
    files = [record.layout.predictions(name, task) for name in needed for task in record.tasks]
    if not all(file.is_file() for file in files):
        return {}
    first = 1 if metric == "transfer" else 0
    last = len(record.tasks) - 1 if metric == "forgetting" else len(record.tasks)
    trained = next(iter(sorted(needed)))  # its files have the tests of the zero-shot model
    tests = {}
    for task in record.tasks[first:last]:
        of_method, of_other = (_counts(record, name, task, metric, trained) for name in (method, other))
        differences = (of_method - of_other).dropna()  # with a limit of test images, steps may differ in theirs
        tests[task] = PairedTest(len(differences), int((differences > 0).sum()), int((differences < 0).sum()))
    return tests


def in_all(tests: Mapping[str, PairedTest]) -> PairedTest:
    """Returns the test on the images of all tasks together."""
    values = tests.values()
    return PairedTest(sum(t.images for t in values), sum(t.better for t in values), sum(t.worse for t in values))


@lru_cache(maxsize=8)
def predictions_of(record: RunRecord, method: str, step: str) -> pd.DataFrame:
    """The content of a file of predictions."""
    return read_predictions(record.layout.predictions(method, step))[0]


def tests_of(record: RunRecord, method: str, task: str, step: int, *, of_zero_shot: bool = False) -> pd.DataFrame:
    """The predictions of the method's model after the step on the images, or queries, of a task.

    `of_zero_shot`: those of the zero-shot model in the same file.
    """
    file, protocol = step, record.config.evaluation.protocol
    if protocol.renews_matrix:  # the last file has the tests of all models
        file = len(record.tasks) - 1
    elif protocol.has_matrix:  # the matrix grows like an L
        position = record.tasks.index(task)
        file = position if of_zero_shot else max(position, step)
    rows = predictions_of(record, method, record.tasks[file])
    return rows[(rows["step"] == (PRETRAINED_STEP if of_zero_shot else step)) & (rows["task"] == task)]


def is_right(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether each prediction is the label."""
    return rows["label"].astype(object) == rows["predicted"].astype(object)


def _counts(record: RunRecord, method: str, task: str, metric: str, trained: str) -> pd.Series[int]:
    """Of each image, or query, of the task: in how many of the metric's tests the method is right."""
    trained_at, last = record.tasks.index(task), len(record.tasks) - 1
    steps = {
        "last": [last],
        "transfer": range(trained_at),
        "avg": range(trained_at, last + 1),  # class-incremental
        "forgetting": [last, trained_at],
    }
    rights = [_right(record, method, task, step, trained) for step in steps[metric]]
    if metric == "forgetting":
        return rights[0] - rights[1]
    return pd.concat(rights, axis=1, join="inner").sum(axis=1)


def _right(record: RunRecord, method: str, task: str, step: int, trained: str) -> pd.Series[int]:
    """Whether the method's model after the step is right on each image, or query, of the task, as 0 and 1."""
    is_zero_shot = method == ZERO_SHOT
    rows = tests_of(record, trained if is_zero_shot else method, task, step, of_zero_shot=is_zero_shot)
    keys = ["query", "image"] if task in record.pair_tasks else ["image"]
    return is_right(rows).astype(int).set_axis(pd.MultiIndex.from_frame(rows[keys].astype(dict.fromkeys(keys, object))))
