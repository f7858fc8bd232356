"""Class-incremental: after a step one test on all classes seen so far, among all of them.  K classes, N images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from gift_core.artifacts.accuracy import PRETRAINED, SEEN, seen_until
from gift_core.artifacts.task import TaskInfo, read_task
from gift_core.clip.encoding import class_features
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.evaluation.chain import EvaluationCell, Measured, measured_on, require_same, row_of, share_correct
from gift_core.evaluation.streaming import HeldOut, encode_held_out
from gift_core.evaluation.task_incremental import newest_model

PLACE = "params.yaml: evaluation.protocol: class_incremental"


def evaluate_seen(cell: EvaluationCell) -> Measured:
    """Two rows, of the step's model and of the pre-trained one, and what they were measured on.

    Both are tested on the test splits of all tasks so far, each image among the classes of all of them, a class by its
    own task's templates; top1 is over all images together. No other model is read: the metadata take their hashes from
    the step before. UserError where models of their own answer for the tasks, or two tasks share a class.
    """
    if cell.answering is not newest_model:
        raise UserError(
            f"{PLACE}: {cell.method} keeps a model of its own for every task, and no one model knows all classes. "
            f"Take {cell.method} out of run.methods, or write task_incremental."
        )
    require_distinct_classes([read_task(folder) for folder in cell.tasks.values()])
    newest = list(cell.tasks)[-1]
    read = {name: cell.models[name] for name in (PRETRAINED, newest)}
    hashes = measured_on(read, cell.tasks)
    require_same(cell.previous, hashes, cell.method)
    clips = [cell.encoding.load(folder) for folder in read.values()]
    (untouched, learned), images = _accuracies(clips, list(cell.tasks.values()), cell.encoding.batch_size)
    measured = [(-1, seen_until(newest), untouched), (cell.last, SEEN, learned)]
    rows = [
        row_of(cell.method, step=step, trained_task=newest, eval_task=eval_task, phase=SEEN, top1=top1, images=images)
        for step, eval_task, top1 in measured
    ]
    return pd.DataFrame(rows), {**cell.previous, **hashes}


def seen_in_words(rows: pd.DataFrame) -> str:
    """Both rows: the step's model, and the pre-trained one."""
    untouched, learned = rows.sort_values("step").top1
    count = f"{rows.n.max():,} test images of all classes so far"
    return f"{learned:.1%} on {count} (the pre-trained model: {untouched:.1%})"


def require_distinct_classes(tasks: Sequence[TaskInfo]) -> None:
    """Raises UserError where two tasks have a class of one name: nothing tells their images apart.

    Case and spaces make no difference, as they make none to CLIP's tokenizer.
    """
    owners: dict[str, tuple[str, str]] = {}
    for task in tasks:
        for name in task.class_names:
            other, spelling = owners.setdefault(" ".join(name.casefold().split()), (task.name, name))
            if other != task.name:
                both = repr(name) if name == spelling else f"{spelling!r} and {name!r}"
                raise UserError(
                    f"{PLACE}: tasks {other} and {task.name} both have the class {both}, so that no model could tell "
                    "which of the two an image is of. Rename or leave out one, or write task_incremental."
                )


def _accuracies(clips: Sequence[Clip], folders: Sequence[Path], batch_size: int) -> tuple[list[float], int]:
    """(top1 of each model on the test images of all tasks, their number); labels count on from task to task."""
    splits = [HeldOut(folder, batch_size=batch_size, cache_budget=CacheBudget(0)) for folder in folders]
    features: list[list[torch.Tensor]] = [[] for _ in clips]
    labels, seen = [], 0
    for split in splits:
        for image_ND, of_clip in zip(encode_held_out(clips, split), features, strict=True):
            of_clip.append(image_ND)
        labels.append(split.labels_N + seen)
        seen += len(split.task.class_names)
    all_labels_N = torch.cat(labels)
    heads = [_all_classes(clip, splits, batch_size) for clip in clips]
    pairs = zip(features, heads, strict=True)
    top1 = [share_correct(torch.cat(of_clip), class_KD, all_labels_N) for of_clip, class_KD in pairs]
    return top1, len(all_labels_N)


def _all_classes(clip: Clip, splits: Sequence[HeldOut], batch_size: int) -> torch.Tensor:
    """Unit features [K, D] of the classes of all tasks, each by its own task's templates."""
    tasks = [split.task for split in splits]
    return torch.cat([class_features(clip, task.class_names, task.templates, batch_size=batch_size) for task in tasks])
