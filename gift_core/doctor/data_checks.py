"""Checks the data sets of params.yaml: quickly that they exist, thoroughly that they are complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gift_core.config.tasks import CatalogueTaskConfig, FolderTaskConfig, MiniTaskConfig, TaskConfig
from gift_core.datasets.folder_reader import is_hidden
from gift_core.datasets.spelling import split_of
from gift_core.doctor.finding import Finding, Project
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import byte_size


def check_folders(project: Project) -> Iterator[Finding]:
    """Yields a finding for each missing or empty data folder of params.yaml."""
    for path, names in _tasks_by_path(project.config.tasks).items():
        folder = project.root / path
        if folder.is_dir() and any(folder.iterdir()):
            continue
        found = f"{folder} is empty" if folder.is_dir() else f"there is no {folder}"
        ingested = all(_is_ingested(project.root, name) for name in names)
        yield Finding(_subject(names), "fail", found, _remedy(project.config.tasks[names[0]], names, ingested))


def check_data_sets(project: Project) -> Iterator[Finding]:
    """Yields the findings about every data set, without decoding an image. Slices of one data set share a line."""
    yield from _miniature_tasks(project.config.tasks)
    missing = {finding.subject: finding for finding in check_folders(project)}
    for names in _tasks_by_path(project.config.tasks).values():
        subject = _subject(names)
        if subject in missing:
            yield missing[subject]
        else:
            yield from _check_contents(project, names)


def _check_contents(project: Project, names: list[str]) -> Iterator[Finding]:
    from gift_core.datasets.image_check import composition_notes
    from gift_core.datasets.ingest import open_dataset

    subject, notes = _subject(names), set[str]()
    for name in names if _different_data_sets(project.config.tasks, names) else names[:1]:
        task = project.config.tasks[name]
        assert not isinstance(task, MiniTaskConfig)
        try:
            listing = open_dataset(name, task, seed=project.config.seed, root=project.root)
        except UserError as error:
            yield Finding(subject, "fail", str(error))
            return
        notes.update(listing.notes)
        counts = f"{len(listing.train):,} + {len(listing.test):,} images, {listing.described}"
    path = project.config.tasks[names[0]].path
    of = f" in the first of {len(names)} tasks" if len(names) > 1 else ""
    yield Finding(subject, "ok", f"{path}: {counts}{of}")
    is_published = isinstance(project.config.tasks[names[0]], CatalogueTaskConfig)
    for note in sorted(notes):
        own = "Change the data set if that is not intended."
        remedy = "Accuracies will not be comparable to published ones." if is_published else own
        yield Finding(subject, "warn", note, remedy)
    if not is_published:
        for note in composition_notes(listing, project.config.prompts.images_per_task):
            yield Finding(subject, "warn", note)


def class_count(name: str, task: TaskConfig, root: Path) -> int | None:
    """Returns the number of classes of a task, or None if that needs reading the data."""
    if isinstance(task, CatalogueTaskConfig):
        from gift_core.datasets.catalogue.row import catalogue_row

        row = catalogue_row(task.dataset, f"params.yaml: tasks.{name}.dataset")
        return task.classes.count if task.classes else len(row.classes)
    if isinstance(task, FolderTaskConfig) and (root / task.path).is_dir():
        parts = _subfolders(root / task.path)
        train = next((part for part in parts if split_of(part.name) == "train"), None)
        return len(parts if train is None else _subfolders(train))
    return None


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)]


def _tasks_by_path(tasks: Mapping[str, TaskConfig]) -> dict[str, list[str]]:
    """Groups the tasks that need external data by the path of the data."""
    paths: dict[str, list[str]] = {}
    for name, task in tasks.items():
        if not isinstance(task, MiniTaskConfig):
            paths.setdefault(task.path, []).append(name)
    return paths


def _different_data_sets(tasks: Mapping[str, TaskConfig], names: list[str]) -> bool:
    """Whether the tasks are more than slices of one data set. Any slice checks the counts of the whole data set."""
    return len({getattr(tasks[name], "dataset", name) for name in names}) > 1


def _miniature_tasks(tasks: Mapping[str, TaskConfig]) -> Iterator[Finding]:
    count = sum(isinstance(task, MiniTaskConfig) for task in tasks.values())
    if count:
        yield Finding("data", "ok", f"{count} tasks of the miniature benchmark, which need no download")


def _subject(names: list[str]) -> str:
    return f"data {names[0]}" if len(names) == 1 else f"data {names[0]} ... {names[-1]}"


def _is_ingested(root: Path, task: str) -> bool:
    return (Layout(root).task(task) / "task.json").is_file()


def _remedy(task: TaskConfig, names: list[str], ingested: bool) -> str:
    if isinstance(task, CatalogueTaskConfig):
        size = byte_size(_archive_bytes(task))
        remedy = f"Run: gift data fetch {task.dataset} ({size}). It says what to download by hand, if anything."
        remedy += f" Or learn without it: gift remove-task {names[0]}." if len(names) == 1 else ""
    else:
        remedy = "Put the data there, or correct the path of the task in params.yaml (docs/your_own_task.md)."
    allow = " The ingested data is there. To run without the raw data: dvc repro --allow-missing." if ingested else ""
    return remedy + allow


def _archive_bytes(task: CatalogueTaskConfig) -> int:
    from gift_core.datasets.catalogue.row import catalogue_row

    return sum(archive.bytes for archive in catalogue_row(task.dataset, "params.yaml: tasks: dataset").archives)
