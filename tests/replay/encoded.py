"""The features of a list of pairs by a model."""

from __future__ import annotations

from collections.abc import Sequence

from gift_core.artifacts.features import Features
from gift_core.artifacts.shards import Pair
from gift_core.clip.model import Clip
from gift_core.replay.teacher_features import encode_pairs
from gift_core.replay.teachers import Teacher


def encoded(clip: Clip, pairs: Sequence[Pair], *, batch_size: int, model: str = "a model") -> Features:
    """Returns the features, of which the metadata call the teacher `model`."""
    return encode_pairs(Teacher(clip, model), lambda first: iter(pairs[first:]), len(pairs), batch_size=batch_size)[0]
