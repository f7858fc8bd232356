"""How many images, classes and templates a task has, as far as that is known without reading its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gift_core.artifacts.task import read_task
from gift_core.config.tasks import CatalogueTaskConfig, FolderTaskConfig, MiniTaskConfig, OwnTaskConfig, TaskConfig
from gift_core.datasets.folder_reader import is_hidden
from gift_core.doctor.data_checks import class_count
from gift_core.errors import ContractError
from gift_core.layout import Layout

MINI_CLASSES, MINI_TEMPLATES = 20, 3  # about


@dataclass(frozen=True)
class TaskSize:
    """The numbers of training and test images, of classes, and of templates for each class in testing."""

    train: int
    test: int
    classes: int
    templates: int


TYPICAL = TaskSize(train=1600, test=400, classes=100, templates=1)  # of a task that is not known yet


def task_size(name: str, task: TaskConfig, root: Path) -> TaskSize:
    """Returns the size of a task, from its ingested data where they exist. What is not known yet is that of TYPICAL."""
    if isinstance(task, MiniTaskConfig):
        return TaskSize(task.train_images, task.test_images, MINI_CLASSES, MINI_TEMPLATES)
    ingested = _ingested(Layout(root).task(name))
    if ingested is not None:
        return ingested
    if isinstance(task, CatalogueTaskConfig):
        return _published(name, task)
    classes, templates = class_count(name, task, root) or TYPICAL.classes, len(task.templates)
    images = _count_files(root / task.path) if isinstance(task, FolderTaskConfig) else 0
    if not images:
        return TaskSize(TYPICAL.train, TYPICAL.test, classes, templates)
    test = round(images * task.test_fraction)
    return TaskSize(_limited(images - test, task, classes), test, classes, templates)


def _ingested(folder: Path) -> TaskSize | None:
    if not (folder / "task.json").is_file():
        return None
    try:
        info = read_task(folder)
    except ContractError:  # the stages that read it say so
        return None
    return TaskSize(info.counts["train"], info.counts["test"], len(info.class_names), len(info.templates))


def _published(name: str, task: CatalogueTaskConfig) -> TaskSize:
    from gift_core.datasets.catalogue.row import catalogue_row

    row = catalogue_row(task.dataset, f"params.yaml: tasks.{name}.dataset")
    classes = task.classes.count if task.classes else len(row.classes)
    share = classes / len(row.classes)
    train, test = (round(row.counts[split] * share) for split in ("train", "test"))
    return TaskSize(_limited(train, task, classes), test, classes, len(task.templates or row.templates))


def _limited(train: int, task: OwnTaskConfig | CatalogueTaskConfig, classes: int) -> int:
    """The training images that are left with `shots` of each class."""
    return train if task.shots is None else min(train, task.shots * classes)


def _count_files(folder: Path) -> int:
    return sum(path.is_file() and not is_hidden(path.name) for path in folder.rglob("*"))
