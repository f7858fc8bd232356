"""What many tests need on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gift_core.artifacts.task import TaskInfo, write_task
from tests.clip.tiny import png


def made_task(
    folder: Path,
    labels: Sequence[int] | Sequence[tuple[str, ...]],
    classes: Sequence[str] = ("one", "two"),
    templates: Sequence[str] = ("a {}.",),
    *,
    test: Sequence[int] | Sequence[tuple[str, ...]] | None = None,
    first: int = 0,
) -> Path:
    """Writes the task that the folder is named after, three images a tar: image n is png(first + n).

    `labels`: of the training images; in a task of pairs, their captions.
    `test`: labels of the test images, which begin with the same PNG. None: as many as there are for training.
    """
    info = TaskInfo(folder.name, tuple(classes), tuple(templates), "a test")
    splits = labels, labels if test is None else test
    images = ([(png(first + row), "png", label) for row, label in enumerate(each)] for each in splits)
    write_task(folder, info, *images, images_per_shard=3)
    return folder
