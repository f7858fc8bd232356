"""The stage teach's one library function: everything that a step's replay and anchor need of the frozen teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from gift_core.artifacts.fisher import FISHER, Fisher, Floats, read_fisher, write_fisher
from gift_core.artifacts.shards import Pair
from gift_core.clip.encoding import tokenize
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import Clip
from gift_core.replay.fisher import estimate_fisher
from gift_core.replay.table import REPLAYS, ReplaySource, pairs_of
from gift_core.replay.teachers import Teacher

if TYPE_CHECKING:
    from gift_core.config.methods import MethodConfig


def teach(teacher: Teacher, method: MethodConfig, source: ReplaySource) -> str:
    """Writes the teacher's features of what is replayed, and its Fisher diagonals where `replay.fisher` asks for them.

    Returns what was written, in words.
    """
    said = REPLAYS[method.replay.images].teach(teacher, method.replay, source)
    options = getattr(method.replay, "fisher", None)
    if options is None:
        return said
    pairs = pairs_of(method.replay, source)
    diagonals = fisher_of_pairs(teacher.clip, pairs, estimator=options.estimator, batch_size=source.batch_size)
    if options.accumulate and len(source.tasks) > 1:
        diagonals = added(diagonals, read_fisher(source.teacher_before / FISHER).diagonals)
    write_fisher(source.teacher / FISHER, Fisher(diagonals, options.estimator, teacher.model))
    return f"{said}; Fisher diagonals ({options.estimator}) of {len(diagonals)} tensors"


def fisher_of_pairs(clip: Clip, pairs: Iterable[Pair], *, estimator: str, batch_size: int) -> dict[str, Floats]:
    """The diagonal Fisher information of `clip` on the pairs, by the parameters' names (replay.fisher)."""
    listed = list(pairs)
    pixels_MCHW = evaluation_pixels(clip, (pair.image for pair in listed))
    tokens_ML = tokenize(clip, [pair.prompt for pair in listed])
    fisher: dict[str, torch.Tensor] = estimate_fisher(
        clip, pixels_MCHW, tokens_ML, estimator=estimator, batch_size=batch_size
    )
    return {name: diagonal.numpy() for name, diagonal in fisher.items()}


def added(newest: Mapping[str, Floats], earlier: Mapping[str, Floats]) -> dict[str, Floats]:
    """The sum over the steps so far: what every earlier step's past depended on goes on counting (EWC)."""
    return {name: (diagonal + earlier[name]).astype(np.float32) for name, diagonal in newest.items()}
