"""Checks the data sets of params.yaml: quickly that they exist, thoroughly that they are complete."""

from __future__ import annotations

from collections.abc import Iterator

from gift_core.config.tasks import CatalogueTaskConfig, MiniTaskConfig
from gift_core.datasets.catalogue.row import catalogue_row
from gift_core.doctor.finding import Finding, Project
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import byte_size


def check_data(project: Project) -> Iterator[Finding]:
    """Yields the findings about every data set, without decoding an image. Slices of one data set share a line.

    A quick check yields only those about missing and empty folders.
    """
    tasks, paths = project.config.tasks, dict[str, list[str]]()
    for name, task in tasks.items():
        if not isinstance(task, MiniTaskConfig):
            paths.setdefault(task.path, []).append(name)
    count = len(tasks) - sum(map(len, paths.values()))
    if count and not project.quick:
        yield Finding("data", "ok", f"{count} tasks of the miniature benchmark, which need no download")
    for path, names in paths.items():
        folder = project.root / path
        subject = f"data {names[0]}" if len(names) == 1 else f"data {names[0]} ... {names[-1]}"
        if not folder.is_dir() or not any(folder.iterdir()):
            found = f"{folder} is empty" if folder.is_dir() else f"there is no {folder}"
            remedy = "Put the data there, or correct the path of the task in params.yaml (docs/your_own_task.md)."
            if getattr(tasks[names[0]], "repository", None):
                remedy = f"Run: gift data fetch {names[0]}."
            if isinstance(task := tasks[names[0]], CatalogueTaskConfig):
                archives = catalogue_row(task.dataset, "params.yaml: tasks: dataset").archives
                size = byte_size(sum(archive.bytes for archive in archives))
                remedy = f"Run: gift data fetch {task.dataset} ({size}). It says what to download by hand, if anything."
                remedy += f" Or learn without it: gift remove-task {names[0]}." if len(names) == 1 else ""
            if all((Layout(project.root).task(name) / "task.json").is_file() for name in names):
                remedy += " The ingested data is there. To run without the raw data: dvc repro --allow-missing."
            yield Finding(subject, "fail", found, remedy)
        elif not project.quick:
            yield from _check_contents(project, subject, names)


def _check_contents(project: Project, subject: str, names: list[str]) -> Iterator[Finding]:
    from gift_core.datasets.image_check import composition_notes
    from gift_core.datasets.ingest import open_dataset

    tasks, notes = project.config.tasks, set[str]()
    # Any slice checks the counts of the whole data set.
    several = len({getattr(tasks[name], "dataset", name) for name in names}) > 1
    for name in names if several else names[:1]:
        try:
            listing = open_dataset(name, tasks[name], seed=project.config.seed, root=project.root)
        except UserError as error:
            yield Finding(subject, "fail", str(error))
            return
        notes.update(listing.notes)
        counts = f"{len(listing.train):,} + {len(listing.test):,} images, {listing.described}"
    of = f" in the first of {len(names)} tasks" if len(names) > 1 else ""
    yield Finding(subject, "ok", f"{tasks[names[0]].path}: {counts}{of}")
    is_published = isinstance(tasks[names[0]], CatalogueTaskConfig)
    remedy = (
        "Accuracies will not be comparable to published ones."
        if is_published
        else "Change the data set if that is not intended."
    )
    yield from (Finding(subject, "warn", note, remedy) for note in sorted(notes))
    if is_published:
        return
    is_probe = names[-1] in project.config.evaluation.probes
    for note in composition_notes(listing, None if is_probe else project.config.prompts.images_per_task):
        yield Finding(subject, "warn", note)
