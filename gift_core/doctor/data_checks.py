"""Checks the data sets of params.yaml: quickly that they exist, thoroughly that they are complete."""

from __future__ import annotations

from collections.abc import Iterator

from gift_core.datasets.status import RawData, data_in_use, open_raw
from gift_core.doctor.finding import Finding, Project
from gift_core.layout import Layout
from gift_core.quantities import byte_size


def check_data(project: Project) -> Iterator[Finding]:
    """Yields the findings about every folder of raw data, without decoding an image.

    A quick check yields only those about missing and empty folders.
    """
    config = project.config
    count = sum(task.source == "mini" for task in config.tasks.values())
    if count and not project.quick:
        yield Finding("data", "ok", f"{count} tasks of the miniature benchmark, which need no download")
    for raw in data_in_use(config, root=project.root):
        subject = f"data {raw.name}"
        if not raw.path.is_dir() or not any(raw.path.iterdir()):
            found = f"{raw.path} is empty" if raw.path.is_dir() else f"there is no {raw.path}"
            yield Finding(subject, "fail", found, _remedy(project, raw))
            continue
        if project.quick:
            continue
        state, faults, dataset = open_raw(raw, config, project.root)
        suffices = state == "complete" or (raw.allow_partial and bool(dataset.train))
        if suffices:
            counts = f"{len(dataset.train):,} + {len(dataset.test):,} images, {dataset.described}"
            yield Finding(subject, "ok", f"{config.tasks[raw.tasks[0]].path}: {counts}")
        remedy = "Accuracies will not be comparable to published ones." if suffices else ""
        yield from (Finding(subject, "warn" if suffices else "fail", fault, remedy) for fault in faults)
        if suffices and raw.row is None:
            remedy = "Change the data set if that is not intended."
            yield from (Finding(subject, "warn", note, remedy) for note in dataset.notes)


def _remedy(project: Project, raw: RawData) -> str:
    """What to do about raw data that is missing."""
    remedy = "Put the data there, or correct the path of the task in params.yaml (docs/your_own_task.md)."
    if raw.row is not None:
        size = byte_size(sum(archive.bytes for archive in raw.row.archives))
        remedy = f"Run: gift data fetch {raw.name} ({size}). It says what to download by hand, if anything."
        remedy += f" Or learn without it: gift remove-task {raw.tasks[0]}." if len(raw.tasks) == 1 else ""
    elif getattr(project.config.tasks[raw.name], "repository", None):
        remedy = f"Run: gift data fetch {raw.name}."
    if all((Layout(project.root).task(name) / "task.json").is_file() for name in raw.tasks):
        remedy += " The ingested data is there. To run without the raw data: dvc repro --allow-missing."
    return remedy
