"""A task of the embedded miniature world as a source of images."""

from __future__ import annotations

from collections.abc import Iterator

from gift_core.artifacts.task import LabelledImage
from gift_core.config.tasks import MiniTaskConfig
from gift_core.errors import UserError
from gift_core.mini.world import mini_task, render_task
from gift_core.tasks.images import encode_image
from gift_core.tasks.source import TaskSource

_BYTES_AN_IMAGE = 6144  # a 32 px image at its worst, and its share of the tar


def mini_source(name: str, config: MiniTaskConfig, *, image_format: str, seed: int) -> TaskSource:
    """Returns the mini task of that name; UserError for an unknown name, or fewer images than classes in a split."""
    task = mini_task(name)
    counts = {"train": config.train_images, "test": config.test_images}
    for split, count in counts.items():
        classes = len(task.class_names)
        if count < classes:
            place = f"params.yaml: tasks.{name}.{split}_images"
            raise UserError(f"{place}: {count} images cannot show {classes} classes. Write {classes} or more.")

    def images(split: str) -> Iterator[LabelledImage]:
        for image, label in render_task(name, split, counts[split], seed=seed):
            yield encode_image(image, image_format), image_format, label

    expected = sum(counts.values()) * _BYTES_AN_IMAGE
    return TaskSource(task.class_names, task.templates, counts, expected, images("train"), images("test"))
