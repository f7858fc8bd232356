"""Checks the data sets of params.yaml: quickly that they exist, thoroughly that they are complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gift_core.config.tasks import CatalogueTaskConfig, MiniTaskConfig, TaskConfig
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
        ingested = all((Layout(project.root).task(name) / "task.json").is_file() for name in names)
        yield Finding(_subject(names), "fail", found, _remedy(project.config.tasks[names[0]], names, ingested))


def check_data_sets(project: Project) -> Iterator[Finding]:
    """Yields the findings about every data set, without decoding an image. Slices of one data set share a line."""
    count = sum(isinstance(task, MiniTaskConfig) for task in project.config.tasks.values())
    if count:
        yield Finding("data", "ok", f"{count} tasks of the miniature benchmark, which need no download")
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
    # Any slice checks the counts of the whole data set.
    several = len({getattr(project.config.tasks[name], "dataset", name) for name in names}) > 1
    for name in names if several else names[:1]:
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
        is_probe = names[-1] in project.config.evaluation.probes
        for note in composition_notes(listing, None if is_probe else project.config.prompts.images_per_task):
            yield Finding(subject, "warn", note)


def _tasks_by_path(tasks: Mapping[str, TaskConfig]) -> dict[str, list[str]]:
    """Groups the tasks that need external data by the path of the data."""
    paths: dict[str, list[str]] = {}
    for name, task in tasks.items():
        if not isinstance(task, MiniTaskConfig):
            paths.setdefault(task.path, []).append(name)
    return paths


def _subject(names: list[str]) -> str:
    return f"data {names[0]}" if len(names) == 1 else f"data {names[0]} ... {names[-1]}"


def _remedy(task: TaskConfig, names: list[str], ingested: bool) -> str:
    if isinstance(task, CatalogueTaskConfig):
        from gift_core.datasets.catalogue.row import catalogue_row

        row = catalogue_row(task.dataset, "params.yaml: tasks: dataset")
        size = byte_size(sum(archive.bytes for archive in row.archives))
        remedy = f"Run: gift data fetch {task.dataset} ({size}). It says what to download by hand, if anything."
        remedy += f" Or learn without it: gift remove-task {names[0]}." if len(names) == 1 else ""
    else:
        remedy = "Put the data there, or correct the path of the task in params.yaml (docs/your_own_task.md)."
    allow = " The ingested data is there. To run without the raw data: dvc repro --allow-missing." if ingested else ""
    return remedy + allow
