"""The data sets of params.yaml: there at all, for a quick look; complete, for a thorough one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gift_core.config.tasks import CatalogueTaskConfig, FolderTaskConfig, MiniTaskConfig, TaskConfig
from gift_core.doctor.finding import Finding, Scene
from gift_core.errors import UserError
from gift_core.layout import Layout


def check_folders(scene: Scene) -> Iterator[Finding]:
    """Yields a finding for each path of params.yaml's tasks at which nothing lies."""
    for path, names in _by_path(scene.config.tasks).items():
        place = scene.root / path
        if place.is_dir() and any(place.iterdir()):
            continue
        found = f"{place} is empty" if place.is_dir() else f"there is no {place}"
        first = scene.config.tasks[names[0]]
        yield Finding(
            _subject(names), "fail", found, _remedy(first, all(_is_ingested(scene.root, name) for name in names))
        )


def check_data_sets(scene: Scene) -> Iterator[Finding]:
    """Yields what is found of every data set, without decoding an image; one line for slices of the same one."""
    yield from _own_world(scene.config.tasks)
    missing = {finding.subject: finding for finding in check_folders(scene)}
    for names in _by_path(scene.config.tasks).values():
        subject = _subject(names)
        if subject in missing:
            yield missing[subject]
        else:
            yield from _look(scene, names)


def _look(scene: Scene, names: list[str]) -> Iterator[Finding]:
    from gift_core.tasks.opening import open_listing

    subject, notes = _subject(names), set[str]()
    for name in names if _differ(scene.config.tasks, names) else names[:1]:
        task = scene.config.tasks[name]
        assert not isinstance(task, MiniTaskConfig)
        try:
            listing = open_listing(name, task, seed=scene.config.seed, root=scene.root)
        except UserError as error:
            yield Finding(subject, "fail", str(error))
            return
        notes.update(listing.notes)
        counts = f"{len(listing.train):,} + {len(listing.test):,} images, {len(listing.class_names)} classes"
    path = scene.config.tasks[names[0]].path
    of = f" in the first of {len(names)} tasks" if len(names) > 1 else ""
    yield Finding(subject, "ok", f"{path}: {counts}{of}")
    for note in sorted(notes):
        yield Finding(subject, "warn", note, "Accuracies will not compare with published ones.")


def class_count(name: str, task: TaskConfig, root: Path) -> int | None:
    """Returns how many classes a task has; None where that shows only when its data are read."""
    if isinstance(task, CatalogueTaskConfig):
        from gift_core.tasks.catalogue.row import catalogue_row

        row = catalogue_row(task.dataset, f"params.yaml: tasks.{name}.dataset")
        return task.classes.count if task.classes else len(row.classes)
    if isinstance(task, FolderTaskConfig) and (root / task.path).is_dir():
        train = root / task.path / "train"
        return sum(folder.is_dir() for folder in (train if train.is_dir() else root / task.path).iterdir())
    return None


def _by_path(tasks: Mapping[str, TaskConfig]) -> dict[str, list[str]]:
    """The tasks that need data beside the project's own, by where they lie."""
    paths: dict[str, list[str]] = {}
    for name, task in tasks.items():
        if not isinstance(task, MiniTaskConfig):
            paths.setdefault(task.path, []).append(name)
    return paths


def _differ(tasks: Mapping[str, TaskConfig], names: list[str]) -> bool:
    """Whether the tasks are more than slices of one data set, whose counts are checked as a whole with any of them."""
    return len({getattr(tasks[name], "dataset", name) for name in names}) > 1


def _own_world(tasks: Mapping[str, TaskConfig]) -> Iterator[Finding]:
    drawn = sum(isinstance(task, MiniTaskConfig) for task in tasks.values())
    if drawn:
        yield Finding("data", "ok", f"{drawn} tasks of the miniature world: drawn, nothing to fetch")


def _subject(names: list[str]) -> str:
    return f"data {names[0]}" if len(names) == 1 else f"data {names[0]} ... {names[-1]}"


def _is_ingested(root: Path, task: str) -> bool:
    return (Layout(root).task(task) / "task.json").is_file()


def _remedy(task: TaskConfig, ingested: bool) -> str:
    if isinstance(task, CatalogueTaskConfig):
        remedy = f"gift data fetch {task.dataset} gets it, or says what to get by hand."
    else:
        remedy = "Put the data there, or correct the row's path in params.yaml (docs/your_own_task.md)."
    pulled = " Its ingested form is there: without the raw data run dvc repro --allow-missing." if ingested else ""
    return remedy + pulled
