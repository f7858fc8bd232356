"""Which images to keep of the tasks learned: iCaRL's herding in a memory of fixed size.  N images, D features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from gift_core.artifacts.exemplars import Exemplar
from gift_core.artifacts.task import TaskInfo, iterate_task, read_task
from gift_core.clip.encoding import class_prompts, stream_image_features
from gift_core.clip.images import Read, in_memory
from gift_core.clip.model import Clip
from gift_core.progress import progress


def herding(features_ND: torch.Tensor, count: int) -> list[int]:
    """Indices of `count` rows (all N where there are fewer) whose running mean stays nearest to the mean of all rows.

    Algorithm 4 of iCaRL (Rebuffi et al. 2017): the k-th is the one, not chosen before, that brings the mean of the k
    chosen nearest to the mean of all; of equals the first. Any prefix of the result is the result for its length.
    `features_ND`: unit rows. The means are not made unit again.
    """
    features_ND = features_ND.double()
    mean_D = features_ND.mean(dim=0)
    sum_D = torch.zeros_like(mean_D)
    free_N = torch.ones(len(features_ND), dtype=torch.bool, device=features_ND.device)
    chosen: list[int] = []
    for k in range(1, min(count, len(features_ND)) + 1):
        # k times the paper's |mean - (feature + sum) / k|; without the quotient equal distances stay equal
        distances_N = (k * mean_D - sum_D - features_ND).norm(dim=1)
        best = int(distances_N.where(free_N, torch.inf).argmin())
        chosen.append(best)
        free_N[best] = False
        sum_D = sum_D + features_ND[best]
    return chosen


def choose_exemplars(
    clip: Clip, task: Path, *, memory: int, earlier: Sequence[Exemplar], batch_size: int
) -> list[Exemplar]:
    """The exemplars after the task in the folder `task`: `earlier` ones cut down, then its own by label and rank.

    Every class seen keeps the same share, memory // classes: earlier classes their first ones, the task's classes the
    first by `herding` of clip's features of the training images. A class with fewer images keeps them all.
    A share is one image at least, so more classes than `memory` exceed it.
    """
    info = read_task(task)
    classes = len({(exemplar.task, exemplar.label) for exemplar in earlier}) + len(info.class_names)
    share = max(1, memory // classes)
    features_ND, labels_N = _training_features(clip, task, info, batch_size)
    ranked = [
        (index, label, rank)
        for label in range(len(info.class_names))
        for rank, index in enumerate(_herd_class(features_ND, labels_N, label, share))
    ]
    return [exemplar for exemplar in earlier if exemplar.rank < share] + _own_exemplars(task, info, ranked)


def _training_features(clip: Clip, task: Path, info: TaskInfo, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(unit features [N, D], labels [N]) of the training split, on the CPU; pixels are kept of a batch alone."""
    clip.model.eval()
    labels: list[int] = []

    def images() -> Iterator[Read]:
        for image, label in progress(iterate_task(task, "train"), info.counts["train"], f"{info.name} images"):
            labels.append(label)
            yield in_memory(image)

    features_ND = stream_image_features(clip, images(), batch_size=batch_size)
    return features_ND, torch.tensor(labels, dtype=torch.int64)


def _herd_class(features_ND: torch.Tensor, labels_N: torch.Tensor, label: int, count: int) -> list[int]:
    """Positions among all N of the images that stand for the class."""
    members = (labels_N == label).nonzero().flatten()
    return members[herding(features_ND[members], count)].tolist()


def _own_exemplars(task: Path, info: TaskInfo, ranked: Sequence[tuple[int, int, int]]) -> list[Exemplar]:
    """The exemplars of (position in the training split, label, rank), whose images are read once more."""
    wanted = {position for position, _, _ in ranked}
    images = {n: image for n, (image, _) in enumerate(iterate_task(task, "train")) if n in wanted}
    prompts = class_prompts(info.class_names, info.templates)
    return [
        Exemplar(
            key=f"{info.name}-{label:04d}-{rank:04d}",
            task=info.name,
            label=label,
            class_name=info.class_names[label],
            prompt=prompts[label],
            rank=rank,
            image=images[position],
        )
        for position, label, rank in ranked
    ]
