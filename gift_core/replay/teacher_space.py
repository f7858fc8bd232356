"""How many bytes the stage teach is about to write, to be asked for before the data are encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gift_core.artifacts.prompt_files import read_vocabulary
from gift_core.artifacts.task import read_task
from gift_core.clip.model import Clip
from gift_core.replay.paired import synthetic_images
from gift_core.replay.reference import SUFFIXES
from gift_core.replay.source import ReplaySource

_FLOAT_BYTES = 4
_KEY_BYTES = 100  # a row's key, or its tokens, compressed
_FOLDER_BYTES = 1 << 16  # source.json, the headers of tables, and what is lost to whole blocks

# By the value of replay.images in params.yaml: the number of images whose features are written.
ROWS: Mapping[str, Callable[[Any, ReplaySource], int]] = {
    "none": lambda options, source: 0,
    "synthetic": synthetic_images,
    "reference": lambda options, source: _images_in_reference(options, source),
    "task": lambda options, source: int(read_task(source.tasks[-1]).counts["train"]),
    "exemplars": lambda options, source: int(options.memory),
}


def teacher_bytes(clip: Clip, options: Any, source: ReplaySource) -> int:
    """Returns about what the features of images and texts, the exemplars and the Fisher diagonals of a replay take.

    `options` is the method's replay. ContractError if the data that it replays are missing.
    """
    feature = clip.embedding_size * _FLOAT_BYTES
    features = ROWS[options.images](options, source) * (2 * feature + _KEY_BYTES)
    features += _texts(options, source) * (feature + _KEY_BYTES)
    fisher = clip.parameter_count * _FLOAT_BYTES if getattr(options, "fisher", None) else 0
    return features + _exemplar_bytes(options, source) + fisher + _FOLDER_BYTES


def _texts(options: Any, source: ReplaySource) -> int:
    """The random texts, or the most that the vocabulary can have: the prompt of each pair may be one of its own."""
    if options.images == "synthetic":
        return synthetic_images(options, source) + len(read_vocabulary(source.vocabulary))
    return int(getattr(getattr(options, "texts", None), "count", 0))


def _exemplar_bytes(options: Any, source: ReplaySource) -> int:
    """What the exemplars' images take if they are as large as those of the task before; the first task has none."""
    if options.images != "exemplars" or len(source.tasks) == 1:
        return 0
    images = sum(read_task(source.tasks[-2]).counts.values())
    tars = sum(tar.stat().st_size for tar in source.tasks[-2].glob("*.tar"))
    return int(options.memory) * tars // images


def _images_in_reference(options: Any, source: ReplaySource) -> int:
    return sum(path.suffix.lower() in SUFFIXES for path in (source.root / options.folder).rglob("*"))
