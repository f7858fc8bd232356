"""A few training images of each task."""

from __future__ import annotations

from collections.abc import Iterator

from gift_core.artifacts.task import STAGE
from gift_core.report.run_record import RunRecord, Section
from gift_core.report.thumbnails import Thumbnail, a_few, thumbnail

CLASSES = 6
IMAGES_PER_CLASS = 2


def task_images(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the tasks. Those whose images are not on this machine are named. A task of pairs has
    captions in place of classes."""
    samples = {
        task: {name: class_images(record, task, name) for name in a_few(list(images), CLASSES)}
        for task, images in record.training_images.items()
    }
    missing = [task for task, classes in samples.items() if not classes]
    yield Section("tasks", "Tasks", "task_images.html.j2", {"samples": samples, "missing": missing})


def class_images(record: RunRecord, task: str, name: str) -> list[Thumbnail]:
    """The first training images of a class that are on this machine."""
    images, folder = record.training_images[task][name][:IMAGES_PER_CLASS], record.layout.task(task)
    return [thumbnail(name, image.read(), file=folder, stage=STAGE) for image in images]
