"""What a source of images gives to ingestion, whatever it is: class names, templates and two streams of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gift_core.artifacts.task import LabeledImage


@dataclass(frozen=True)
class TaskSource:
    """A data set before it is stored. The streams are consumed once, train before test.

    `counts` and `expected_bytes` are known beforehand (for the bar and the disk check); `notes` are for whoever reads
    the result; `skipped` grows while the streams are consumed: (file, reason).
    """

    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    counts: Mapping[str, int]
    expected_bytes: int
    train: Iterator[LabeledImage]
    test: Iterator[LabeledImage]
    notes: tuple[str, ...] = ()
    skipped: list[tuple[str, str]] = field(default_factory=list)
