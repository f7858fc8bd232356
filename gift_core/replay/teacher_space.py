"""How many bytes the stage teach is about to write, to be asked for before the data are encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gift_core.artifacts.shards import read_manifest
from gift_core.artifacts.task import read_task
from gift_core.clip.model import Clip
from gift_core.replay.reference import SUFFIXES
from gift_core.replay.teach import ReplaySource

_FLOAT_BYTES = 4
_FOLDER_BYTES = 1 << 16  # keys, source.json, and what is lost to whole blocks

# By the value of replay.images in params.yaml: the number of images whose features are written.
ROWS: Mapping[str, Callable[[Any, ReplaySource], int]] = {
    "none": lambda options, source: 0,
    "synthetic": lambda options, source: int(read_manifest(source.shards)["images"]),
    "reference": lambda options, source: _images_in_reference(options, source),
    "task": lambda options, source: int(read_task(source.tasks[-1]).counts["train"]),
    "exemplars": lambda options, source: int(options.memory),
}


def teacher_bytes(clip: Clip, options: Any, source: ReplaySource) -> int:
    """Returns about what a replay's image and text features and Fisher diagonals take. ContractError without its data.

    `options` is the method's replay.
    """
    features = ROWS[options.images](options, source) * clip.embedding_size * _FLOAT_BYTES * 2
    fisher = clip.parameter_count * _FLOAT_BYTES if getattr(options, "fisher", None) else 0
    return features + fisher + _FOLDER_BYTES


def _images_in_reference(options: Any, source: ReplaySource) -> int:
    return sum(path.suffix.lower() in SUFFIXES for path in (source.root / options.folder).rglob("*"))
