"""Replay of images of earlier tasks, chosen by iCaRL's herding, in a memory of fixed size: replay.images: exemplars.

N images, D features.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gift_core.artifacts.task import index_task, read_task
from gift_core.artifacts.teacher_files import Exemplar, read_exemplars, write_exemplars
from gift_core.clip.encoding import class_prompts, tokenize
from gift_core.clip.images import in_memory
from gift_core.clip.model import Clip
from gift_core.computation import UnitRunner, run_serially
from gift_core.method.replay.source import Replay, Teacher, hash_of
from gift_core.method.replay.teacher_features import features_of_images
from gift_core.method.replay.unpaired import UnpairedStepReplay

if TYPE_CHECKING:
    from gift_core.config.replay_options import ExemplarReplayConfig  # noqa: F401


class ExemplarReplay(UnpairedStepReplay["ExemplarReplayConfig"]):
    """The exemplars after the task before this one, and the prompts of their classes. The first task has none."""

    def hashes(self) -> dict[str, str]:
        """The exemplars before are in the teacher's folder of the step before."""
        return {f"task {folder.name}": hash_of(folder / "task.json", "ingest") for folder in self.source.tasks[-2:-1]}

    def encode_with(self, teacher: Teacher, folder: Path, run: UnitRunner) -> str:
        if len(self.source.tasks) == 1:
            write_exemplars(folder, [])
            return "no exemplars yet"
        kept = choose_exemplars(
            teacher.clip,
            self.source.tasks[-2],
            memory=self.options.memory,
            earlier=read_exemplars(self.source.teacher_before),
            batch_size=self.sampling.encode_batch_size,
            run=run,
        )
        write_exemplars(folder, kept)
        texts = list(dict.fromkeys(exemplar.prompt for exemplar in kept))
        images = [in_memory(exemplar.image) for exemplar in kept]
        return self.write(teacher, folder, run, images, texts, tokenize(teacher.clip, texts))

    def load(self, clip: Clip, taken: Collection[str]) -> Replay | None:
        """Returns the exemplars against the prompts of their classes; None where there are none."""
        images = [in_memory(exemplar.image) for exemplar in read_exemplars(self.source.teacher)]
        return self.batches(clip, images) if images else None


def herding(features_ND: torch.Tensor, count: int) -> list[int]:
    """Returns the indices of `count` rows, or of all N where there are fewer, whose mean is near the mean of all rows.

    Algorithm 4 of iCaRL (Rebuffi et al. 2017): the k-th row is the one that brings the mean of the first k rows nearest
    to the mean of all; ties go to the lowest index. Any prefix of the result is the result for its length. The rows of
    `features_ND` are unit vectors, the means are not normalized.
    """
    features_ND = features_ND.double()
    mean_D = features_ND.mean(dim=0)
    sum_D = torch.zeros_like(mean_D)
    free_N = torch.ones(len(features_ND), dtype=torch.bool, device=features_ND.device)
    chosen: list[int] = []
    for k in range(1, min(count, len(features_ND)) + 1):
        # k times the paper's |mean - (feature + sum) / k|; without the division, ties stay ties
        distances_N = (k * mean_D - sum_D - features_ND).norm(dim=1)
        best = int(distances_N.where(free_N, torch.inf).argmin())
        chosen.append(best)
        free_N[best] = False
        sum_D = sum_D + features_ND[best]
    return chosen


def choose_exemplars(
    clip: Clip, task: Path, *, memory: int, earlier: Sequence[Exemplar], batch_size: int, run: UnitRunner = run_serially
) -> list[Exemplar]:
    """Returns the exemplars after the task in the folder `task`: those of `earlier` that stay, then the task's own.

    Every class so far keeps memory // classes images, and at least one, so with more classes than `memory` there are
    more exemplars. Earlier classes keep their first ones by rank. The task's classes get those that `herding` chooses
    by clip's features of the training images, in the order of label and rank.
    """
    info = read_task(task)
    classes = len({(exemplar.task, exemplar.label) for exemplar in earlier}) + len(info.class_names)
    share = max(1, memory // classes)
    images = index_task(task, "train")
    reads = [image.read for image in images]
    features_ND = features_of_images(clip, reads, batch_size=batch_size, run=run, name="candidates")
    labels_N = torch.tensor([image.label for image in images], dtype=torch.int64)
    kept = [exemplar for exemplar in earlier if exemplar.rank < share]
    for label, prompt in enumerate(class_prompts(info.class_names, info.templates)):
        members = (labels_N == label).nonzero().flatten()
        for rank, index in enumerate(members[herding(features_ND[members], share)].tolist()):
            key = f"{info.name}-{label:04d}-{rank:04d}"
            name = info.class_names[label]
            kept.append(Exemplar(key, info.name, label, name, prompt, rank, images[index].read()))
    return kept
